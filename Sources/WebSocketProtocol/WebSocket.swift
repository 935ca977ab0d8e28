/// What serves a WebSocket. Spans and buffers are valid only during the call.
public protocol WebSocketDelegate: AnyObject {
    /// A whole message; a text is valid UTF-8.
    func webSocket(received payload: RawSpan, isText: Bool)
    /// Bytes that must go to the peer now: pongs and close frames.
    func webSocket(send bytes: [UInt8])
    /// The peer has answered a ping.
    func webSocketReceivedPong()
    /// The last frame has gone in at least one direction: nothing more will be received. The shell closes the
    /// connection once what it was given is sent. `code` is the peer's, or the one that it was sent for its error.
    func webSocketEnded(_ code: CloseCode, error: WebSocketError?)
}

/// One WebSocket connection after its handshake, without I/O (RFC 6455 §5–§7): bytes in, messages and bytes out.
///
/// It answers pings, answers a close with a close, and meets a broken rule with the close frame that names it. It has
/// no clock: after `close` the shell waits as long as it likes and then drops the connection.
public struct WebSocket {
    private enum State { case open, closeSent, ended }

    private var parser: MessageParser
    private var state = State.open
    private let role: Role

    /// - Parameter messageLimit: bytes of a message, all its fragments together.
    public init(role: Role = .server, messageLimit: Int = 16_384) {
        self.role = role
        parser = MessageParser(role: role, messageLimit: messageLimit)
    }

    /// Whether messages may still be sent.
    public var isOpen: Bool { state == .open }

    /// Takes bytes from the peer and changes them in place. Frames that came whole before a broken one are delivered.
    public mutating func receive(_ bytes: inout MutableRawSpan, _ delegate: some WebSocketDelegate, mask: UInt32? = nil) {
        guard state != .ended else { return }
        let sink = Sink(delegate: delegate, mask: mask, role: role)
        do throws(WebSocketError) {
            try bytes.withUnsafeMutableBytes { raw throws(WebSocketError) in try parser.receive(raw, into: sink) }
        } catch {
            finish(sink.peerClose ?? error.code, error: sink.peerClose == nil ? error : nil, delegate, mask: mask)
        }
    }

    /// Begins the closing handshake from this side (RFC 6455 §7.1.2). A second call does nothing.
    public mutating func close(_ code: CloseCode, _ reason: String = "", _ delegate: some WebSocketDelegate, mask: UInt32? = nil) {
        guard state == .open else { return }
        state = .closeSent
        delegate.webSocket(send: FrameEncoder.close(code, reason, mask: mask))
    }

    private mutating func finish(_ code: CloseCode, error: WebSocketError?, _ delegate: some WebSocketDelegate, mask: UInt32?) {
        if state == .open {
            let reply =
                code == .noStatus ? FrameEncoder.frame(.close, [], mask: mask) : FrameEncoder.close(code, error?.reason ?? "", mask: mask)
            delegate.webSocket(send: reply)
        }
        state = .ended
        delegate.webSocketEnded(code, error: error)
    }

    /// Between the parser and the delegate: the control frames. A received close ends the parsing as a thrown value,
    /// because what lies behind it has no meaning (RFC 6455 §5.5.1).
    private final class Sink<Delegate: WebSocketDelegate>: MessageSink {
        let delegate: Delegate
        let mask: UInt32?
        let role: Role
        var peerClose: CloseCode?

        init(delegate: Delegate, mask: UInt32?, role: Role) {
            self.delegate = delegate
            self.mask = mask
            self.role = role
        }

        func message(_ payload: RawSpan, isText: Bool) { delegate.webSocket(received: payload, isText: isText) }

        func control(_ opcode: Opcode, _ payload: RawSpan) throws(WebSocketError) {
            switch opcode {
            case .ping: payload.withUnsafeBytes { delegate.webSocket(send: FrameEncoder.frame(.pong, $0, mask: mask)) }
            case .pong: delegate.webSocketReceivedPong()
            default:
                peerClose = try payload.withUnsafeBytes { raw throws(WebSocketError) in try closeCode(raw) }
                throw WebSocketError(.normal, "")
            }
        }

        private func closeCode(_ payload: UnsafeRawBufferPointer) throws(WebSocketError) -> CloseCode {
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
}
