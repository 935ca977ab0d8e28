/// Where the bytes of a message or control frame lie: in what was just received, or put together from several pieces.
public enum Payload: Sendable {
    case received(Range<Int>)
    case assembled([UInt8])

    /// Lends the bytes.
    ///
    /// - Parameter received: what `WebSocket.next` was given.
    public func withUnsafeBytes<R, E: Error>(
        in received: borrowing MutableRawSpan, _ body: (UnsafeRawBufferPointer) throws(E) -> R
    ) throws(E) -> R {
        switch self {
        case .received(let range):
            try received.withUnsafeBytes { raw throws(E) in try body(UnsafeRawBufferPointer(rebasing: raw[range])) }
        case .assembled(let bytes): try bytes.span.withUnsafeBytes(body)
        }
    }
}
