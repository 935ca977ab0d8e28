import Metrics

/// What is measured of the store, whichever it is.
public struct StoreMeasurements: Sendable {
    private let seconds: [StoreOperation: Metrics.Timer]
    private let failures: [StoreFailure: Counter]
    private let appends: [AppendResult: Counter]
    private let batchQueues: Recorder
    private let batchEvents: Recorder
    private let deletedRows: [ExpiredKind: Counter]
    private let lastDeletion: [ExpiredKind: Meter]

    init(registry: PrometheusRegistry) {
        seconds = registry.timers(
            "stanchion_store_operation_duration_seconds", "What the store was asked for, the wait for a connection included.", "operation")
        failures = registry.counters("stanchion_store_errors_total", "What the store did not do, or not for certain.", "kind")
        appends = registry.counters("stanchion_store_appends_total", "Attempts to add to a queue's log, by what became of them.", "outcome")
        batchQueues = registry.sizes("stanchion_store_batch_queues", "Queues that are written in one transaction.")
        batchEvents = registry.sizes("stanchion_store_batch_events", "Events that are written in one transaction.")
        deletedRows = registry.counters(
            "stanchion_retention_deleted_rows_total", "Rows that retention has deleted, by what they were.", "kind")
        lastDeletion = Dictionary(
            uniqueKeysWithValues: ExpiredKind.allCases.map { kind in
                let help = "When this instance last found nothing more to delete; 0: not yet."
                return (kind, registry.gauge("stanchion_retention_complete_timestamp_seconds", help, [("kind", kind.rawValue)]))
            })
    }

    public func took(_ nanoseconds: UInt64, _ operation: StoreOperation) { seconds[operation]!.recordNanoseconds(Int64(nanoseconds)) }
    public func failed(_ kind: StoreFailure) { failures[kind]!.increment() }
    public func batch(queues: Int, events: Int) {
        batchQueues.record(queues)
        batchEvents.record(events)
    }
    /// - Parameter now: seconds since 1970.
    public func expired(_ count: Int, _ kind: ExpiredKind, isComplete: Bool, at now: Double) {
        if count > 0 { deletedRows[kind]!.increment(by: count) }
        if isComplete { lastDeletion[kind]!.set(now) }
    }
    public func appended(_ result: AppendResult) { appends[result]!.increment() }
}

/// What a store is asked for.
public enum StoreOperation: String, CaseIterable, Sendable {
    case append
    /// Those that must be served although nobody asks for them.
    case wakingQueues = "waking_queues"
    /// A page of a tenant's.
    case listQueues = "list_queues"
    /// One by its slug.
    case findQueue = "find_queue"
    case loadQueue = "load_queue"
    case entries
    case logBounds = "log_bounds"
    /// Finds a deleted queue's log for a reader.
    case deletedLog = "deleted_log"
    case confirm
    case deleteExpired = "delete_expired"
    case endClosed = "end_closed"
    /// Finds closed queues whose sessions have yet to be ended in their rows.
    case closingQueues = "closing_queues"
    case beginHistory = "begin_history"
    case deleteQueue = "delete_queue"
    case beat
    /// Ending a lease, removing another's, and finding whom it held.
    case leases
    /// One session, by its id or its user.
    case session
    case sessions
    case announcements
    case averageWait = "average_wait"
    /// Tenants, keys, receipts, secrets.
    case registry
    /// Hours of the instances' doing, and marks.
    case trends
    case diskUse = "disk_use"
}

/// What retention deletes.
public enum ExpiredKind: String, CaseIterable, Sendable {
    case sessions, receipts, announcements, consumers, marks, log
    /// All that was a deleted queue's, its row among it.
    case deletedQueues = "deleted_queues"
}

public enum StoreFailure: String, CaseIterable, Sendable {
    case full, unavailable
    case inDoubt = "in_doubt"
    case corrupt
    /// No connection was free.
    case busy
    /// The request's own data.
    case rejected
}

/// What became of an append. All but the first two are decided anew or refused.
public enum AppendResult: String, CaseIterable, Sendable {
    case committed
    case failed
    /// Another instance was faster, or is next.
    case behind, reserved
    case lapsed
    case userConflict = "user_conflict"
    case receiptConflict = "receipt_conflict"
    case slugTaken = "slug_taken"
}
