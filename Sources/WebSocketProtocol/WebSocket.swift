/// One WebSocket connection after its handshake, without I/O (RFC 6455 §5–§7): bytes in, messages and bytes out.
///
/// It answers pings, answers a close with a close, and meets a broken rule with the close frame that names it. It has
/// no clock: after `close` the shell waits as long as it likes and then drops the connection. Idle it is 24 bytes.
public struct WebSocket: ~Copyable {
    /// What there is to know or to do, in the order of the bytes. A payload is valid until the next call.
    public enum Event {
        /// A whole message; a text is valid UTF-8. None comes to a server after its `close`.
        case message(Payload, isText: Bool)
        /// The peer has pinged, and this pong is to be sent.
        case ping(pong: [UInt8])
        /// The peer has answered a ping.
        case pong
        /// The last event: nothing more will be received. `reply` is sent where there is one, and then the connection
        /// is closed. `code` is the peer's, or the one that it is sent for its error.
        case ended(CloseCode, reply: [UInt8]?, error: WebSocketError?)
    }

    private enum State: UInt8 { case open, closeSent, ended }

    /// Compresses what is sent, and says how; nil where nothing was negotiated.
    public let deflate: PermessageDeflate?
    private var parser: MessageParser
    private var state = State.open

    /// - Parameters:
    ///   - messageLimit: bytes of a message, all its fragments together, inflated.
    ///   - deflate: what the handshake negotiated.
    public init(role: Role = .server, messageLimit: Int = 16_384, deflate: PermessageDeflate? = nil) {
        self.deflate = deflate
        parser = MessageParser(role: role, messageLimit: messageLimit, allowsCompression: deflate != nil)
    }

    /// Whether messages may still be sent.
    public var isOpen: Bool { state == .open }

    /// The next event in `bytes`, which are changed in place; nil when they are used up.
    ///
    /// What came whole before a broken rule is found before it, and invalid text at the byte that makes it invalid.
    ///
    /// - Parameters:
    ///   - position: how far the bytes are used; begins at 0 with each new piece.
    ///   - mask: a fresh, unpredictable key for what is sent, where this side is the client (RFC 6455 §5.3).
    public mutating func next(_ bytes: inout MutableRawSpan, _ position: inout Int, mask: UInt32? = nil) -> Event? {
        while state != .ended {
            do throws(WebSocketError) {
                let found = try bytes.withUnsafeMutableBytes { raw throws(WebSocketError) in try parser.next(raw, &position) }
                switch found {
                case nil: return nil
                case .message(let payload, let isText, let isCompressed):
                    // Nobody reads what comes behind a server's close, so it is not inflated.
                    guard isOpen || parser.role == .client else { continue }
                    guard isCompressed else { return .message(payload, isText: isText) }
                    return .message(.assembled(try inflate(payload, in: bytes, isText: isText)), isText: isText)
                case .control(.ping, let payload):
                    // §5.5.2: unless it already received a close; after its own there is nobody left to prove it to.
                    guard isOpen else { continue }
                    return .ping(pong: payload.withUnsafeBytes(in: bytes) { FrameEncoder.frame(.pong, $0, mask: mask) })
                case .control(.pong, _): return .pong
                case .control(_, let payload):
                    let code = try payload.withUnsafeBytes(in: bytes) { raw throws(WebSocketError) in try WebSocket.closeCode(raw) }
                    return end(
                        code, reply: code == .noStatus ? FrameEncoder.frame(.close, [], mask: mask) : FrameEncoder.close(code, mask: mask))
                }
            } catch {
                return end(error.code, reply: FrameEncoder.close(error.code, error.reason, mask: mask), error: error)
            }
        }
        return nil
    }

    /// Begins the closing handshake from this side (RFC 6455 §7.1.2): the frame to send; nil where one has gone.
    public mutating func close(_ code: CloseCode, _ reason: String = "", mask: UInt32? = nil) -> [UInt8]? {
        guard isOpen else { return nil }
        state = .closeSent
        return FrameEncoder.close(code, reason, mask: mask)
    }

    private mutating func end(_ code: CloseCode, reply: [UInt8], error: WebSocketError? = nil) -> Event {
        defer { state = .ended }
        return .ended(code, reply: isOpen ? reply : nil, error: error)
    }

    private func inflate(_ payload: Payload, in bytes: borrowing MutableRawSpan, isText: Bool) throws(WebSocketError) -> [UInt8] {
        let message = try payload.withUnsafeBytes(in: bytes) { raw throws(WebSocketError) in
            try deflate!.inflate(raw, limit: Int(parser.limit))
        }
        guard isText else { return message }
        var text = UTF8Validator()
        guard message.withUnsafeBytes({ text.accept($0) }) else { throw .notText }
        guard text.isComplete else { throw .textEndsInside }
        return message
    }

    private static func closeCode(_ payload: UnsafeRawBufferPointer) throws(WebSocketError) -> CloseCode {
        if payload.isEmpty { return .noStatus }
        guard payload.count >= 2 else { throw WebSocketError(.protocolError, "a close code of one byte") }
        let code = CloseCode(UInt16(payload[0]) << 8 | UInt16(payload[1]))
        guard code.mayBeReceived else { throw WebSocketError(.protocolError, "a close code that must not be sent") }
        var reason = UTF8Validator()
        guard reason.accept(UnsafeRawBufferPointer(rebasing: payload[2...])), reason.isComplete else {
            throw WebSocketError(.invalidData, "a close reason that is not UTF-8")
        }
        return code
    }
}
