import EventLoop
import WebSocketProtocol

/// Position frames for a few visitors: written first, then sent.
struct PositionFrames: ~Copyable {
    private var encoder = FrameEncoder()
    private var batch = SendBatch()

    mutating func append(_ position: Int, _ line: LiveFrames.Line, reason: String?, to visitor: LiveVisitor) {
        encoder.text(deflate: visitor.webSocket.deflate) {
            LiveFrames.position(position, line, reason: reason, into: &$0)
        } _: {
            batch.append($0, to: visitor.connection)
        }
    }

    /// Sends them, and says how many took the place of one that the kernel had no room for.
    mutating func send() -> Int { batch.send() }
}
