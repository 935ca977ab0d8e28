import DequeModule

/// When to check that the peers of a loop's connections take what they were sent: a peer that reads nothing and keeps sending puts off
/// its deadline for ever.
///
/// A check is added when a connection is sent something. It comes some seconds later, mostly finds everything acknowledged, and is the
/// last one until more is sent: an idle connection costs nothing. Where it finds something waiting, the peer has the loop's
/// `stallSeconds` to take that, and the next check asks whether it has. What is sent in between is the next check's affair: a peer may
/// have twice as long for it.
///
/// The kernel's own limit (tcp(7), TCP_USER_TIMEOUT) ends connections whose peers have only paused: its clock goes on where the peer's
/// window opens by less than the next segment.
struct ProgressWatch {
    /// What waited for a peer when a check found that something did.
    struct Finding: Equatable {
        let second: UInt32
        /// Bytes that the peer had acknowledged, modulo 2³².
        let acknowledged: UInt32
        /// Bytes that waited in the kernel.
        let waiting: Int32

        /// Whether a peer that has acknowledged so much by now has taken what waited, or 256 bytes of it for each second since then.
        func isMet(by acknowledged: UInt32, at second: UInt32) -> Bool {
            let due = min(UInt64(max(0, waiting)), UInt64(second - self.second) * Connection.leastBytesPerSecond)
            return UInt64(acknowledged &- self.acknowledged) >= due
        }
    }

    struct Check {
        let tag: UInt64
        let due: UInt32
        /// What the check before this one found; nil: this is the first one.
        let finding: Finding?
    }

    // Each is in the order in which its checks are due: they are added as long before as each other.
    private var first = Deque<Check>()
    private var last = Deque<Check>()

    /// Whether there are more than twice as many checks as sources: then most are of connections that are gone.
    func mayBeStale(_ sources: Int) -> Bool { first.count + last.count > 2 * sources + 4_096 }

    mutating func add(_ tag: UInt64, at second: UInt32, stallSeconds: UInt32) {
        first.append(Check(tag: tag, due: second + min(ProgressWatch.firstSeconds, stallSeconds), finding: nil))
    }

    /// Seconds are whole: one more makes sure that the peer has all of its time.
    mutating func add(_ tag: UInt64, _ finding: Finding, stallSeconds: UInt32) {
        last.append(Check(tag: tag, due: finding.second + stallSeconds + 1, finding: finding))
    }

    mutating func next(at second: UInt32) -> Check? {
        if let check = last.first, check.due <= second { return last.removeFirst() }
        if let check = first.first, check.due <= second { return first.removeFirst() }
        return nil
    }

    mutating func remove(where isGone: (UInt64) -> Bool) {
        first.removeAll { isGone($0.tag) }
        last.removeAll { isGone($0.tag) }
    }

    /// From being sent something until the first check, at most.
    private static let firstSeconds: UInt32 = 5
    /// Nanoseconds for checks in one turn: after a message to everyone all connections are due at once.
    static let turnNanoseconds: UInt64 = 1_000_000
}
