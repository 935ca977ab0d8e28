/// How much the service takes on at once. What is more waits, or is refused and may come again.
public struct WorkLimits: Sendable {
    /// Commands that may wait for the store, over all queues; more are refused.
    public var pending = 100_000
    /// Queues that strangers ask for and that are looked for in the store at once, by id, and as many by slug; more are refused.
    public var lookUps = 64
    /// Names that a key's readers of events may have for a queue.
    public var consumers = 64
    public var batch = BatchLimits()

    public init() {}
}

/// What one commit may hold, over all queues, which take turns.
public struct BatchLimits: Sendable {
    /// Commands.
    public var commands = 2_000
    /// Tickets whose presence changes.
    public var tickets = 5_000
    /// Events; a queue's own part is never cut.
    public var events = 5_000
    /// Queues.
    public var queues = 500
}
