/// What the kernel would not take yet from one connection.
///
/// Two kinds of bytes wait differently. Ordered bytes keep their order and their place and are counted against the
/// connection's limit. Of replaceable bytes only the newest is kept (conflation): who reads slowly gets the newest
/// position, not a film of old ones. An idle connection has no outbox at all.
final class Outbox {
    private var ordered: [UInt8] = []
    private var sent = 0
    private var newest: [UInt8] = []
    /// Replaceable bytes that were replaced before they were sent.
    private(set) var conflated = 0

    var isEmpty: Bool { sent == ordered.count && newest.isEmpty }
    var orderedCount: Int { ordered.count - sent }

    func append(_ bytes: UnsafeRawBufferPointer) { ordered.append(contentsOf: bytes) }

    func replace(_ bytes: UnsafeRawBufferPointer) {
        if !newest.isEmpty { conflated += 1 }
        newest = Array(bytes)
    }

    func dropReplaceable() { newest = [] }

    /// Hands what is next to `send`, which returns how many bytes it took, until it takes less than it was given.
    func drain(_ send: (UnsafeRawBufferPointer) -> Int) {
        while true {
            if sent == ordered.count {
                // From here on the newest position is in order too: a part of it may already be on the wire.
                ordered = newest
                newest = []
                sent = 0
            }
            if ordered.isEmpty { return }
            let rest = ordered.count - sent
            let taken = ordered.withUnsafeBytes { send(UnsafeRawBufferPointer(rebasing: $0[sent...])) }
            sent += taken
            if taken < rest { return }
        }
    }
}
