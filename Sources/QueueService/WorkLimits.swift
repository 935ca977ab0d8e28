/// How much the service takes on at once. What is more waits, or is refused and may come again.
public struct WorkLimits: Sendable {
    /// Commands that may wait for the store, over all queues; more are refused.
    public var pending = 100_000
    /// Queues that strangers ask for and that are looked for in the store at once, by id, and as many by slug; more are refused.
    public var lookUps = 64
    /// What one commit may hold over all queues, each in turn: commands.
    public var batchCommands = Backlog.Limits().commands
    /// The same: tickets whose presence changes.
    public var batchTickets = Backlog.Limits().tickets
    /// The same: events, where a queue's own part is never cut.
    public var batchEvents = Backlog.Limits().events
    /// The same: queues.
    public var batchQueues = Backlog.Limits().queues

    public init() {}

    var batch: Backlog.Limits {
        Backlog.Limits(commands: batchCommands, tickets: batchTickets, events: batchEvents, queues: batchQueues)
    }
}
