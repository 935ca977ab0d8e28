import ArgumentParser
import Server

/// The flags of `serve` that say how long what is over is kept.
struct RetentionFlags: ParsableArguments {
    @Option(help: "Days after which a session that has ended is deleted; 0: never. Default 30. [STANCHION_SESSION_DAYS]")
    var sessionDays: String?

    @Option(help: "Hours for which a write with an `Idempotency-Key` is remembered; 0: for ever. Default 24. [STANCHION_RECEIPT_HOURS]")
    var receiptHours: String?

    @Option(help: "Days after which an announcement that has expired is deleted; 0: never. Default 30. [STANCHION_ANNOUNCEMENT_DAYS]")
    var announcementDays: String?

    @Option(
        help:
            "Days after which a reader with a name that does not come any more is forgotten; 0: never. Default 90. [STANCHION_CONSUMER_DAYS]"
    )
    var consumerDays: String?

    @Option(
        help: """
            Days after which a deleted queue goes for good, with its log, its sessions and its announcements; 0: never. Default 30. \
            [STANCHION_DELETED_QUEUE_DAYS]
            """)
    var deletedQueueDays: String?

    @Option(
        help:
            "Days after which entries of a queue's log are deleted, as far as every reader with a name has them; 0: never. Default 0. [STANCHION_LOG_DAYS]"
    )
    var logDays: String?

    func read(_ sources: SettingSources, into settings: inout ServerSettings) throws {
        try sources.integer("session-days", flag: sessionDays, in: 0...36_500, &settings.sessionDays)
        try sources.integer("receipt-hours", flag: receiptHours, in: 0...876_000, &settings.receiptHours)
        try sources.integer("announcement-days", flag: announcementDays, in: 0...36_500, &settings.announcementDays)
        try sources.integer("consumer-days", flag: consumerDays, in: 0...36_500, &settings.consumerDays)
        try sources.integer("deleted-queue-days", flag: deletedQueueDays, in: 0...36_500, &settings.deletedQueueDays)
        try sources.integer("log-days", flag: logDays, in: 0...36_500, &settings.logDays)
    }
}
