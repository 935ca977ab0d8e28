import DequeModule

/// When to look whether the peers of a loop's connections take what they were sent: a peer that goes on talking and reads nothing would
/// never come to a deadline.
///
/// A connection is entered when it is sent something, and is gone at the first look that finds everything acknowledged: an idle one
/// costs nothing. The kernel's own measure (tcp(7), TCP_USER_TIMEOUT) ends connections whose peers have only paused: what it counts
/// from, a window that opens a little does not reset.
struct ProgressWatch {
    /// A look at one connection.
    struct Look {
        let tag: UInt64
        /// The loop's second at which it is due.
        let due: UInt32
        /// What the peer had acknowledged at the look before, and the second of the first look that found this; 0: there was none.
        var acknowledged: UInt32 = 0
        var since: UInt32 = 0
    }

    /// All looks are as far ahead when they are added: those that are due are the first ones.
    private var looks = Deque<Look>()

    mutating func add(_ look: Look) { looks.append(look) }

    mutating func next(at second: UInt32) -> Look? {
        guard let first = looks.first, first.due <= second else { return nil }
        return looks.removeFirst()
    }

    /// Seconds between two looks.
    static func interval(_ stallSeconds: UInt32) -> UInt32 { max(1, stallSeconds / 10) }
}
