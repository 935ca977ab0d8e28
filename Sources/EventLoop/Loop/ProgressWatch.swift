import DequeModule

/// When to check that the peers of a loop's connections take what they were sent: one that goes on talking and reads nothing would never
/// come to a deadline.
///
/// A connection is entered when it is sent something. The first check, soon after, mostly finds everything acknowledged, and the
/// connection is out of it: an idle one costs nothing. Otherwise the peer has the loop's `stallSeconds` to take what waits.
///
/// The kernel's own measure (tcp(7), TCP_USER_TIMEOUT) ends connections whose peers have only paused: a window that opens a little does
/// not reset what it counts from.
struct ProgressWatch {
    /// What was found at the first check that found something waiting.
    struct Finding: Equatable {
        let second: UInt32
        /// Bytes that the peer had acknowledged, modulo 2³².
        let acknowledged: UInt32
        /// Bytes that waited in the kernel.
        let waiting: Int32

        /// Whether a peer that has acknowledged so much in all by now has taken what it had to, at 256 bytes a second or more.
        func isAnswered(by acknowledged: UInt32, at second: UInt32) -> Bool {
            let due = min(UInt64(max(0, waiting)), UInt64(second - self.second) * Connection.leastBytesPerSecond)
            return UInt64(acknowledged &- self.acknowledged) >= due
        }
    }

    struct Check {
        let tag: UInt64
        let due: UInt32
        /// nil: it is the first one.
        let finding: Finding?
    }

    // Each in the order in which they are due: all first ones come as soon, and all others as late.
    private var first = Deque<Check>()
    private var last = Deque<Check>()

    /// Whether there are many more checks than there are sources: most of them are of connections that are gone.
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
