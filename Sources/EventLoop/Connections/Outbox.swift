/// What the kernel would not take yet from one connection.
///
/// Two kinds of bytes wait differently. Ordered bytes keep their order and their place and are counted against the
/// connection's limit. Of replaceable bytes only the newest is kept (conflation): who reads slowly gets the newest
/// position, not a film of old ones. An idle connection has no outbox at all.
final class Outbox {
    private struct Part {
        var bytes: [UInt8]
        /// Somebody else holds the same bytes: they are never changed here, and so never copied.
        let isShared: Bool
    }

    /// Bytes of a part that have gone and may still lie there.
    private static let mostKept = 4_096

    /// In order; of the first `sent` bytes have gone.
    private var parts: [Part] = []
    private var sent = 0
    private(set) var orderedCount = 0
    private var newest: [UInt8] = []
    /// Replaceable bytes that were replaced before they were sent.
    private(set) var conflated = 0
    /// What the peer had acknowledged when its progress was looked at last, and the loop's second then.
    var progress: (acknowledged: UInt64, second: UInt32)?

    var isEmpty: Bool { orderedCount == 0 && newest.isEmpty }

    func append(_ bytes: UnsafeRawBufferPointer) {
        orderedCount += bytes.count
        if let last = parts.indices.last, !parts[last].isShared {
            // One that never empties must not keep all that it ever held.
            if last == 0, sent >= Outbox.mostKept, sent > parts[0].bytes.count / 2 {
                parts[0].bytes.removeFirst(sent)
                sent = 0
            }
            parts[last].bytes.append(contentsOf: bytes)
        } else {
            parts.append(Part(bytes: Array(bytes), isShared: false))
        }
    }

    /// Keeps `bytes` without a copy.
    ///
    /// - Parameter start: how many of them have been sent; other than 0 only where nothing waits.
    func append(shared bytes: [UInt8], from start: Int = 0) {
        guard start < bytes.count else { return }
        assert(start == 0 || parts.isEmpty)
        if parts.isEmpty { sent = start }
        orderedCount += bytes.count - start
        parts.append(Part(bytes: bytes, isShared: true))
    }

    func replace(_ bytes: UnsafeRawBufferPointer) {
        if !newest.isEmpty { conflated += 1 }
        newest = Array(bytes)
    }

    func dropReplaceable() { newest = [] }

    /// Hands what is next to `send`, which returns how many bytes it took, until it takes less than it was given.
    func drain(_ send: (UnsafeRawBufferPointer) -> Int) {
        while true {
            if parts.isEmpty {
                if newest.isEmpty { return }
                // From here on the newest position is in order too: a part of it may already be on the wire.
                parts = [Part(bytes: newest, isShared: false)]
                orderedCount = newest.count
                newest = []
            }
            let rest = parts[0].bytes.count - sent
            let taken = parts[0].bytes.withUnsafeBytes { send(UnsafeRawBufferPointer(rebasing: $0[sent...])) }
            orderedCount -= taken
            sent += taken
            if taken < rest { return }
            parts.removeFirst()
            sent = 0
        }
    }
}
