import DequeModule

/// Work that one task at a time does for each key, while others wait in the order in which they asked. Confined to its owner.
struct Turns<Key: Hashable> {
    typealias Waiter = CheckedContinuation<Void, Never>

    private var waiters: [Key: Deque<Waiter>] = [:]

    /// Takes the turn; false: somebody has it.
    mutating func take(_ key: Key) -> Bool {
        guard waiters[key] == nil else { return false }
        waiters[key] = []
        return true
    }

    /// Resumes the waiter with the turn, once those who asked before have had it: at once where nobody has it.
    mutating func wait(_ waiter: Waiter, for key: Key) {
        if take(key) { waiter.resume() } else { waiters[key]!.append(waiter) }
    }

    /// Gives the turn to whoever has waited longest.
    mutating func end(_ key: Key) {
        if let next = waiters[key]?.popFirst() { next.resume() } else { waiters[key] = nil }
    }
}
