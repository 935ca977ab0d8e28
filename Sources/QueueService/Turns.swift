/// What one does at a time for each key, while others who want the same wait. Confined to its owner.
struct Turns<Key: Hashable> {
    typealias Waiter = CheckedContinuation<Void, Never>

    private var waiters: [Key: [Waiter]] = [:]

    /// Takes the turn; false: somebody has it.
    mutating func take(_ key: Key) -> Bool {
        guard waiters[key] == nil else { return false }
        waiters[key] = []
        return true
    }

    /// Goes on once the turn has ended: at once where it has meanwhile.
    mutating func wait(_ waiter: Waiter, for key: Key) {
        if waiters[key] == nil { waiter.resume() } else { waiters[key]!.append(waiter) }
    }

    mutating func end(_ key: Key) {
        for waiter in waiters.removeValue(forKey: key) ?? [] { waiter.resume() }
    }
}
