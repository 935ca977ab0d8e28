public import EventLoop
import HTTPProtocol
import HTTPTypes
import WebSocketProtocol

/// A WebSocket echo with nothing behind it: what the socket and protocol layers do by themselves.
public enum EchoServer {
    /// Messages may be as large as the conformance suite's largest.
    static let messageBytes = 32 << 20

    public static func start(on address: SocketAddress, loops: Int) throws(SystemError) -> SocketAddress {
        let group = try EventLoopGroup(count: loops)
        return try group.listen(
            on: address, report: { _ in },
            started: { _, listener in
                _ = Unmanaged.passRetained(listener)
            },
            accepted: { loop, descriptor, _ in
                let connection = Connection(loop: loop, owning: descriptor)
                connection.handler = EchoHandshake()
                connection.deadline = loop.second + 15
                do throws(SystemError) { try connection.start() } catch { connection.close() }
            })
    }
}

private final class EchoHandshake: ConnectionHandler {
    private var parser = RequestParser()

    func connection(_ connection: Connection, received bytes: inout MutableRawSpan) {
        parser.receive(bytes.bytes)
        do {
            guard case .request(let request) = try parser.next() else { return }
            let answer = try Handshake.answer(method: request.request.method.rawValue, supported: []) { name in
                HTTPField.Name(name).map { request.fields[values: $0] } ?? []
            }
            connection.send(answer.response)
        } catch {
            connection.send(Array("HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".utf8))
            return connection.closeWhenSent()
        }
        connection.deadline = 0
        connection.outboxLimit = Int32(EchoServer.messageBytes * 2)
        let session = EchoSession(connection)
        connection.handler = session
        var rest = parser.takeRest()
        rest.withUnsafeMutableBytes { raw in
            var span = MutableRawSpan(_unsafeBytes: raw)
            session.connection(connection, received: &span)
        }
    }

    func connectionTimedOut(_ connection: Connection) { connection.close() }
}

private final class EchoSession: ConnectionHandler, WebSocketDelegate {
    private unowned let connection: Connection
    private var webSocket = WebSocket(messageLimit: EchoServer.messageBytes)

    init(_ connection: Connection) { self.connection = connection }

    func connection(_ connection: Connection, received bytes: inout MutableRawSpan) { webSocket.receive(&bytes, self) }
    func connectionTimedOut(_ connection: Connection) { connection.close() }

    func webSocket(received payload: RawSpan, isText: Bool) {
        let header = FrameEncoder.header(isText ? .text : .binary, length: payload.byteCount)
        _ = header.withUnsafeBytes { head in payload.withUnsafeBytes { connection.send(head, then: $0) } }
    }

    func webSocket(send bytes: [UInt8]) { connection.send(bytes) }
    func webSocketReceivedPong() {}
    func webSocketEnded(_ code: CloseCode, error: WebSocketError?) { connection.closeWhenSent() }
}
