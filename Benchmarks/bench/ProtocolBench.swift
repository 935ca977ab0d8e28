import EventLoop
import HTTPProtocol
import HTTPTypes
import WebSocketProtocol

/// The protocols alone: a request with its answer, a masked message, beside the machine's own speed of copying.
enum ProtocolBench {
    static func run() {
        let request = Array(
            """
            GET / HTTP/1.1\r\nHost: 127.0.0.1:9000\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
            Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n
            """.utf8)
        let rounds = 200_000
        var parser = RequestParser()
        let parse = nanoseconds {
            for _ in 0..<rounds {
                parser = RequestParser()
                parser.receive(request.span.bytes)
                guard case .request = try! parser.next() else { preconditionFailure() }
            }
        }
        parser.receive(request.span.bytes)
        guard case .request(let parsed) = try! parser.next() else { preconditionFailure() }
        let answer = nanoseconds {
            for _ in 0..<rounds {
                var fields = Handshake.Fields()
                for field in parsed.fields { fields.add(field.name.canonicalName, field.value) }
                _ = try! Handshake.answer(method: "GET", fields: fields, supported: [])
            }
        }
        let (unmask, copy) = unmasking()
        Bench.report([
            "parseNanoseconds": parse / Double(rounds), "answerNanoseconds": answer / Double(rounds), "unmaskGigabytes": unmask,
            "copyGigabytes": copy,
        ])
    }

    /// Gigabytes a second of masked messages of 64 kB that are found and unmasked in place, and of the same bytes copied.
    private static func unmasking() -> (Double, Double) {
        let size = 65_536
        var socket = WebSocket(messageLimit: size)
        var message = FrameEncoder.frame(.binary, repeatElement(7, count: size), mask: 0x1234_5678)
        var other = message
        let rounds = 20_000
        let unmask = message.withUnsafeMutableBytes { raw in
            let header = Array(raw[..<14])
            return nanoseconds {
                for _ in 0..<rounds {
                    raw[..<14].copyBytes(from: header)
                    var span = MutableRawSpan(_unsafeBytes: raw)
                    var position = 0
                    guard case .message = socket.next(&span, &position) else { preconditionFailure() }
                }
            }
        }
        let copy = other.withUnsafeMutableBytes { to in
            message.withUnsafeBytes { from in nanoseconds { for _ in 0..<rounds { to.copyMemory(from: from) } } }
        }
        return (Double(rounds * size) / unmask, Double(rounds * size) / copy)
    }

    private static func nanoseconds(_ body: () -> Void) -> Double {
        let began = EventLoop.monotonicNow()
        body()
        return Double(EventLoop.monotonicNow() - began)
    }
}
