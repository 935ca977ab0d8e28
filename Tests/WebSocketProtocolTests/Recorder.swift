import WebSocketProtocol

/// Writes down what a WebSocket tells, in order.
struct Recorder: ~Copyable {
    enum Entry: Equatable {
        case message([UInt8], isText: Bool)
        case sent([UInt8])
        case pong
        case ended(UInt16)
    }

    var socket: WebSocket
    var entries: [Entry] = []

    init(_ socket: consuming WebSocket = WebSocket(messageLimit: 1_000)) { self.socket = socket }

    mutating func feed(_ bytes: [UInt8]) {
        var bytes = bytes
        bytes.withUnsafeMutableBytes { raw in
            var span = MutableRawSpan(_unsafeBytes: raw)
            var position = 0
            while let event = socket.next(&span, &position) {
                switch event {
                case .message(let payload, let isText):
                    entries.append(.message(payload.withUnsafeBytes(in: span) { Array($0) }, isText: isText))
                case .ping(let pong): entries.append(.sent(pong))
                case .pong: entries.append(.pong)
                case .ended(let code, let reply, _):
                    if let reply { entries.append(.sent(reply)) }
                    entries.append(.ended(code.rawValue))
                }
            }
        }
    }

    mutating func close(_ code: CloseCode, _ reason: String = "") {
        if let frame = socket.close(code, reason) { entries.append(.sent(frame)) }
    }

    static func run(_ pieces: [[UInt8]], limit: Int = 1_000, deflate: PermessageDeflate? = nil) -> [Entry] {
        var recorder = Recorder(WebSocket(messageLimit: limit, deflate: deflate))
        for piece in pieces { recorder.feed(piece) }
        return recorder.entries
    }
}
