import ArgumentParser
import QueueService

/// The flags of `serve` that say how much is taken on at once.
struct WorkFlags: ParsableArguments {
    @Option(help: "Commands that may wait for the database; more are refused for a moment. Default 100000. [STANCHION_PENDING_COMMANDS]")
    var pendingCommands: String?

    @Option(
        help:
            "Queues that strangers name and that are looked for in the database at once; more are refused for a moment. Default 64. [STANCHION_LOOK_UPS]"
    )
    var lookUps: String?

    @Option(
        help:
            "Readers of events with a name that a key may have for a queue; the one that was silent longest gives way. Default 64. [STANCHION_CONSUMERS]"
    )
    var consumers: String?

    @Option(help: "Commands that one commit may hold. Default 2000. [STANCHION_BATCH_COMMANDS]")
    var batchCommands: String?

    @Option(help: "Visitors whose presence one commit may change. Default 5000. [STANCHION_BATCH_TICKETS]")
    var batchTickets: String?

    @Option(help: "Events that one commit may hold, where no queue has more by itself. Default 5000. [STANCHION_BATCH_EVENTS]")
    var batchEvents: String?

    @Option(help: "Queues that one commit may change. Default 500. [STANCHION_BATCH_QUEUES]")
    var batchQueues: String?

    func read(_ sources: SettingSources, into work: inout WorkLimits) throws {
        try sources.integer("pending-commands", flag: pendingCommands, in: 1...10_000_000, &work.pending)
        try sources.integer("look-ups", flag: lookUps, in: 1...10_000, &work.lookUps)
        try sources.integer("consumers", flag: consumers, in: 1...10_000, &work.consumers)
        try sources.integer("batch-commands", flag: batchCommands, in: 1...100_000, &work.batch.commands)
        try sources.integer("batch-tickets", flag: batchTickets, in: 1...100_000, &work.batch.tickets)
        try sources.integer("batch-events", flag: batchEvents, in: 1...100_000, &work.batch.events)
        try sources.integer("batch-queues", flag: batchQueues, in: 1...10_000, &work.batch.queues)
    }
}
