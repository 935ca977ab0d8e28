import WebSocketProtocol

/// Writes down what a WebSocket tells, in order.
final class Recorder: WebSocketDelegate {
    enum Entry: Equatable {
        case message([UInt8], isText: Bool)
        case sent([UInt8])
        case pong
        case ended(UInt16)
    }

    var entries: [Entry] = []

    func webSocket(received payload: RawSpan, isText: Bool) {
        entries.append(.message(payload.withUnsafeBytes { Array($0) }, isText: isText))
    }
    func webSocket(send bytes: [UInt8]) { entries.append(.sent(bytes)) }
    func webSocketReceivedPong() { entries.append(.pong) }
    func webSocketEnded(_ code: CloseCode, error: WebSocketError?) { entries.append(.ended(code.rawValue)) }

    static func run(_ pieces: [[UInt8]], limit: Int = 1_000) -> [Entry] {
        let recorder = Recorder()
        var socket = WebSocket(messageLimit: limit)
        for piece in pieces { socket.feed(piece, recorder) }
        return recorder.entries
    }
}

extension WebSocket {
    mutating func feed(_ bytes: [UInt8], _ delegate: some WebSocketDelegate) {
        var bytes = bytes
        bytes.withUnsafeMutableBytes { raw in
            var span = MutableRawSpan(_unsafeBytes: raw)
            receive(&span, delegate)
        }
    }
}
