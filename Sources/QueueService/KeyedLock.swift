import DequeModule

/// A lock for each key that tasks of one actor hold across suspensions, handed on in the order in which they asked. Confined to its
/// owner.
struct KeyedLock<Key: Hashable> {
    typealias Waiter = CheckedContinuation<Void, Never>

    private var waiters: [Key: Deque<Waiter>] = [:]

    /// False where a task holds the key's lock.
    mutating func tryAcquire(_ key: Key) -> Bool {
        guard waiters[key] == nil else { return false }
        waiters[key] = []
        return true
    }

    /// Resumes the waiter as the holder, once those who asked before have had the lock: at once where nobody holds it.
    mutating func wait(_ waiter: Waiter, for key: Key) {
        if tryAcquire(key) { waiter.resume() } else { waiters[key]!.append(waiter) }
    }

    /// Hands the lock to whoever has waited longest.
    mutating func release(_ key: Key) {
        if let next = waiters[key]?.popFirst() { next.resume() } else { waiters[key] = nil }
    }
}
