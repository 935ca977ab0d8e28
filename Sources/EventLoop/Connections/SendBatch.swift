/// Replaceable messages for several connections: all are written first, and then sent.
///
/// What a system call does empties the processor's nearest caches. Where writing and sending take turns, each frame
/// begins with code and data that must be fetched again; in a batch that is paid once.
public struct SendBatch: ~Copyable {
    private struct Message {
        let connection: Unmanaged<Connection>
        let start: Int
        let end: Int
    }

    private let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 16_384, alignment: 64)
    private var messages: [Message] = []
    private var conflated = 0

    public init() {}

    deinit { buffer.deallocate() }

    private var end: Int { messages.last?.end ?? 0 }

    /// Copies a message, to be sent by the next `send()`, or before where there is no more room (16 kB).
    ///
    /// The connection is not counted, and so must be kept until then.
    public mutating func append(_ bytes: UnsafeRawBufferPointer, to connection: Connection) {
        if end + bytes.count > buffer.count { flush() }
        guard bytes.count <= buffer.count else {
            if connection.sendReplaceable(bytes) { conflated += 1 }
            return
        }
        let start = end
        UnsafeMutableRawBufferPointer(rebasing: buffer[start...]).copyMemory(from: bytes)
        messages.append(Message(connection: .passUnretained(connection), start: start, end: start + bytes.count))
    }

    /// Sends what was collected, in order. Returns how many took the place of older ones since this was last called.
    public mutating func send() -> Int {
        flush()
        defer { conflated = 0 }
        return conflated
    }

    private mutating func flush() {
        for message in messages {
            let bytes = UnsafeRawBufferPointer(rebasing: buffer[message.start..<message.end])
            if message.connection._withUnsafeGuaranteedRef({ $0.sendReplaceable(bytes) }) { conflated += 1 }
        }
        messages.removeAll(keepingCapacity: true)
    }
}
