public import QueueEngine

/// Why a store could not do what it was asked to. But for `inDoubt`, what was asked has not happened, not even in part.
public enum StoreError: Error, Sendable, Hashable {
    /// No room on the disk.
    case full
    /// Cannot be reached, or is in somebody else's hands; says what it said.
    case unavailable(String)
    /// The store went away with the answer: all of it may have happened, or nothing, or it may happen yet.
    case inDoubt(String)
    /// What is stored makes no sense.
    case corrupt(String)
    /// This process has no connection free for the request; it was not sent, and says nothing about the store's health.
    case busy(String)
    /// The store does not take this request's own data (SQLSTATE classes 22 and 23). Repeating it cannot help.
    case rejected(String)
}

/// Events to add to one queue's log, with the rows that they change, in one transaction.
public struct LogAppend: Sendable {
    /// What an event needs beside itself to become rows.
    public enum Detail: Sendable {
        case none
        /// Of a `joined`.
        case session(SessionID, Visitor)
        /// Of an `announced`.
        case announcement(text: String, Severity, expiresAt: Timestamp?)
    }

    /// The queue as it is after the events; a queue whose first event this is, is made.
    public let record: QueueRecord
    /// What the events continue.
    public let expected: LogPosition
    public var events: [(event: QueueEvent, detail: Detail)] = []
    public var receipts: [Receipt] = []
    public var status: QueueStatus
    public var counters: QueueCounters
    /// Whether anybody waits or is admitted after the events.
    public let isOccupied: Bool
    /// When time will next bring something, of a queue in which nobody is; nil: never.
    public let wakeAt: Timestamp?

    /// - Parameter state: the queue after the events.
    public init(record: QueueRecord, expected: LogPosition, state: QueueState) {
        self.record = record
        self.expected = expected
        status = state.status
        counters = state.counters
        isOccupied = state.isOccupied
        // The store keeps the moment at which somebody came as long as anybody is there.
        wakeAt = state.isOccupied ? state.lastEventAt : state.nextWake(after: state.lastEventAt)
    }
}

public enum AppendOutcome: Sendable, Hashable {
    case committed
    /// The log is elsewhere by now: somebody else has written. Read what is missing and decide anew. The queue may be kept
    /// for this instance for a moment, so that it does not lose again: even where nothing is left to say, append that.
    case behind
    /// The queue is kept for another instance, which was slower before.
    case reserved
    /// The instance has no lease: another one may have begun to act in its place.
    case lapsed
    /// The event at this index would give a person a second place.
    case userConflict(eventIndex: Int)
    /// The receipt at this index has been given before.
    case receiptConflict(index: Int)
    case slugTaken
    /// The store does not take this one; what else was asked stands.
    case failed(StoreError)

    public var isFailure: Bool { if case .failed = self { true } else { false } }
}

/// A queue as a store gives it back.
public struct StoredQueue: Sendable {
    public let record: QueueRecord
    public let image: QueueImage
    /// Whether anybody waits or is admitted.
    public let isOccupied: Bool
    public init(record: QueueRecord, image: QueueImage, isOccupied: Bool) {
        self.record = record
        self.image = image
        self.isOccupied = isOccupied
    }
}

/// A queue that must be served although nobody asks for it, and since when: somebody came, or time brings something.
public struct WakePoint: Sendable, Hashable, Comparable {
    public let at: Timestamp
    public let queue: QueueID
    public init(at: Timestamp, queue: QueueID) {
        self.at = at
        self.queue = queue
    }

    /// Before every other.
    public static let first = WakePoint(at: .distantPast, queue: QueueID(high: 0, low: 0))

    public static func < (a: WakePoint, b: WakePoint) -> Bool { (a.at, a.queue) < (b.at, b.queue) }
}

/// A part of a list, and what to ask for the next part with.
public struct Page<Element: Sendable>: Sendable {
    public let items: [Element]
    public let next: String?
    public init(items: [Element], next: String?) {
        self.items = items
        self.next = next
    }
}

/// The durable home of queues, sessions and logs: the one truth, of which all else is a view.
///
/// - `append` is durable when it returns, all or nothing for each queue, and gives each queue's log gapless numbers.
/// - Every call that names a tenant sees that tenant's rows only.
/// - Errors mean that nothing has happened, but for `inDoubt`.
public protocol QueueStore: Sendable {
    /// Whether several instances can serve it at once.
    var isShared: Bool { get }
    /// What it is asked for just now, and the longest wait since this was last asked.
    func takeLoad() -> StoreLoad
    /// Where its file is; nil: elsewhere.
    var folder: String? { get }

    // The line.

    /// Commits every append, as far as each queue's log is still where it is expected and the instance has a lease. One
    /// transaction for all. Who joins or connects is held by `instance` from then on.
    func append(_ batch: [LogAppend], by instance: InstanceID) async throws(StoreError) -> [AppendOutcome]
    /// Queues to serve although nobody asks for them, in order: those that come after `point` and not later than `end`.
    ///
    /// Somebody is in them, or time brings something; all others are at rest, and cost the caller nothing.
    func wakingQueues(after point: WakePoint, through end: Timestamp, limit: Int) async throws(StoreError) -> [WakePoint]
    /// A tenant's queues after `cursor`, by id, without the people in them and what has moved lately.
    func queues(of tenant: TenantID, after cursor: QueueID?, limit: Int) async throws(StoreError) -> [StoredQueue]
    /// The queue that has this slug, of whatever tenant.
    func queue(slug: String) async throws(StoreError) -> QueueID?
    /// The queue with its line; nil where there is none, or it was deleted.
    func loadQueue(_ queue: QueueID) async throws(StoreError) -> StoredQueue?
    /// The same of a queue that must be served: no look-up delays it.
    func loadServedQueue(_ queue: QueueID) async throws(StoreError) -> StoredQueue?
    /// Entries after `seq`, in order, at most `limit`.
    func entries(of queue: QueueID, after seq: UInt64, limit: Int) async throws(StoreError) -> [LogEntry]
    /// The same for a replica that lacks them: no reader's requests delay it.
    func missedEntries(of queue: QueueID, after seq: UInt64, limit: Int) async throws(StoreError) -> [LogEntry]
    /// The smallest and the largest `seq` in the log; nil for an empty one.
    func logBounds(of queue: QueueID) async throws(StoreError) -> ClosedRange<UInt64>?
    /// Keeps how far a reader has come, which may also be further back than before.
    ///
    /// - Parameter limit: names that a key may have for a queue. One more takes the place of the one that was silent longest.
    func confirm(_ position: ConsumerPosition, limit: Int) async throws(StoreError)
    /// Writes it into the rows of those whom closing the queue has sent away, at most `limit`. They count as sent away as
    /// soon as that is committed, for whoever asks here; but until this has nothing left to do a person who is among
    /// them cannot join by the same name again.
    ///
    /// - Returns: how many there were.
    func endClosed(_ queue: QueueID, limit: Int) async throws(StoreError) -> Int
    /// Closed queues, also deleted ones, of which `endClosed` has something left to do, at most `limit`.
    func closingQueues(limit: Int) async throws(StoreError) -> [QueueID]
    /// The store is known to have gone back: it tells another history from here on, and each queue, also a deleted one, has
    /// another epoch.
    func beginHistory() async throws(StoreError)
    /// The same where the log of a queue, known under this epoch, does not continue what an instance knows of it. Does nothing where
    /// the queue has another epoch, or none: somebody else has found out.
    func beginHistory(insteadOf epoch: UInt64, of queue: QueueID) async throws(StoreError)
    /// Deletes the queue if its log ends at `seq`; the caller has ended every session up to there.
    ///
    /// - Returns: whether it is deleted, now or before.
    func deleteQueue(_ queue: QueueID, tenant: TenantID, at seq: UInt64) async throws(StoreError) -> Bool
    /// The log of a deleted queue, as long as retention has left its row; nil if the tenant has no such deleted queue.
    func deletedLog(of queue: QueueID, tenant: TenantID) async throws(StoreError) -> DeletedLog?

    // Instances.

    /// Takes a lease from now on or makes it longer; a durable write.
    ///
    /// - Parameters:
    ///   - capacity: what the others are told of this one.
    ///   - last: what the instance was told with its last beat; `none` at its start, and then of two that start at the same time one
    ///     sees the other. Where the store has counted less, it has gone back, and begins another
    ///     history, unless one was begun since then.
    ///   - known: the queues that the instance serves, and how far it knows their logs.
    func beat(
        _ instance: InstanceID, lease: Timestamp.Span, capacity: Capacity?, after last: Beat.Count, known: [Beat.Head]
    ) async throws(StoreError) -> Beat
    /// Ends the instance's own lease. Whoever it still holds is for the others to mark.
    func endLease(_ instance: InstanceID) async throws(StoreError)
    /// Forgets an instance whose lease has lapsed. Nothing that it has under way is committed any more.
    func removeLease(_ instance: InstanceID) async throws(StoreError)
    /// Who waits in sight, and was last connected by `instance`.
    func held(by instance: InstanceID, in queue: QueueID) async throws(StoreError) -> [Ticket]

    // Sessions.

    func session(_ id: SessionID) async throws(StoreError) -> SessionRecord?
    /// The session of a trusted user that has not ended.
    ///
    /// - Parameter joining: whether the user is about to join, which must not wait behind all that others look up.
    func currentSession(user: String, queue: QueueID, joining: Bool) async throws(StoreError) -> SessionRecord?
    func sessions(
        tenant: TenantID, queue: QueueID?, status: SessionStatus?, after cursor: String?, limit: Int
    ) async throws(StoreError) -> Page<SessionRecord>

    // Announcements that have not expired at `now`, the newest first.

    func announcements(of queue: QueueID, at now: Timestamp, limit: Int) async throws(StoreError) -> [Announcement]

    /// The mean of seconds from joining to admission over each queue's `last` admissions; queues without one are left out.
    func averageWaits(of queues: [QueueID], last: Int) async throws(StoreError) -> [QueueID: Double]

    // Tenants, keys, receipts, secrets.

    func tenants() async throws(StoreError) -> [Tenant]
    func insert(_ tenant: Tenant) async throws(StoreError)
    /// Inserts it where there is no tenant yet; false: there was. Of several instances that try at once one succeeds.
    func insertFirst(_ tenant: Tenant) async throws(StoreError) -> Bool
    func keys() async throws(StoreError) -> [APIKey]
    /// Which of these keys there are: costs no more than they do, however many others there are.
    func known(_ keys: [KeyID]) async throws(StoreError) -> Set<KeyID>
    /// - Parameter receipt: given in the same transaction; `rejected` where it was given before.
    func insert(_ key: APIKey, _ receipt: Receipt?) async throws(StoreError)
    /// Inserts it where there is no key of its role yet.
    func insertFirst(_ key: APIKey) async throws(StoreError) -> Bool
    func deleteKey(_ id: KeyID, tenant: TenantID) async throws(StoreError) -> Bool
    func receipt(tenant: TenantID, key: String) async throws(StoreError) -> Receipt?
    /// Named secrets that all instances share (signing keys), the newest first.
    func secrets(_ purpose: String) async throws(StoreError) -> [StoredSecret]
    func insert(_ secret: StoredSecret) async throws(StoreError)
    /// Inserts it where there is none of its purpose yet.
    func insertFirst(_ secret: StoredSecret) async throws(StoreError) -> Bool

    // What instances did, by the hour, and what was changed meanwhile.

    /// Keeps hours of an instance in place of what was kept of them, and forgets those before `horizon`, of all.
    func keep(_ hours: [StoredHour], of instance: InstanceID, since horizon: Int) async throws(StoreError)
    /// All instances' hours from `first` on, the oldest first; where they are more than `limit`, the newest.
    func hours(since first: Int, limit: Int) async throws(StoreError) -> [StoredHour]
    /// Requests of all instances from that hour on, and those of them that failed.
    func requests(since first: Int) async throws(StoreError) -> (all: Int64, failed: Int64)
    /// - Parameter receipt: as for a key.
    func insert(_ mark: Mark, _ receipt: Receipt?) async throws(StoreError)
    /// The oldest first; where they are more than `limit`, the newest.
    func marks(tenant: TenantID, since moment: Timestamp, limit: Int) async throws(StoreError) -> [Mark]

    /// What it takes of its disk, and how full that is.
    func diskUse() async throws(StoreError) -> DiskUse?
    // Retention.

    /// Deletes rows that have expired, at most about `limit` of them and the oldest first. Costs nothing where there are none.
    ///
    /// Of a log the last entry stays, and whatever a reader with a name has not confirmed.
    func deleteExpired(_ rows: ExpiredRows, limit: Int) async throws(StoreError) -> ExpiredCount

    /// Lets go of it. What is asked from here on fails.
    func close()
}

/// What there is of the log of a deleted queue, to which nothing is added.
public struct DeletedLog: Sendable, Hashable {
    public let epoch: UInt64
    /// The first entry that retention has left; `head + 1` where it has left none.
    public let first: UInt64
    public let head: UInt64
    public init(epoch: UInt64, first: UInt64, head: UInt64) { (self.epoch, self.first, self.head) = (epoch, first, head) }
}

/// A store's connections, and who waits for one.
public struct StoreLoad: Sendable, Hashable {
    public var connections = 0
    /// Connections that there may be; 0: it has none.
    public var limit = 0
    public var busy = 0
    public var waiting = 0
    public var longestWaitSeconds = 0.0
    /// Connections in use in the busiest quarter of a second since the last look.
    public var peakBusy = 0.0
    /// Transactions that stood in each other's way and were ended for it, since the start.
    public var deadlocks = 0
    public init() {}
}

/// What a store takes of a disk.
public struct DiskUse: Sendable, Hashable {
    public let bytes: Double
    /// How much of the disk is in use by whomever, 0 to 1; nil where that cannot be seen from here.
    public let usedShare: Double?
    public init(bytes: Double, usedShare: Double?) { (self.bytes, self.usedShare) = (bytes, usedShare) }
}

extension QueueStore {
    /// One that does not know.
    public func diskUse() async throws(StoreError) -> DiskUse? { nil }
    /// One in which no request waits for another's connection.
    public func loadServedQueue(_ queue: QueueID) async throws(StoreError) -> StoredQueue? { try await loadQueue(queue) }

    public func missedEntries(of queue: QueueID, after seq: UInt64, limit: Int) async throws(StoreError) -> [LogEntry] {
        try await entries(of: queue, after: seq, limit: limit)
    }
    /// One with few keys.
    public func known(_ keys: [KeyID]) async throws(StoreError) -> Set<KeyID> {
        try await Set(self.keys().map(\.id)).intersection(keys)
    }
    /// One that is asked without connections.
    public func takeLoad() -> StoreLoad { StoreLoad() }
    /// The same of one queue; nil where nobody was admitted.
    public func averageWait(of queue: QueueID, last: Int) async throws(StoreError) -> Double? {
        try await averageWaits(of: [queue], last: last)[queue]
    }
    public var folder: String? { nil }
    public func insert(_ key: APIKey) async throws(StoreError) { try await insert(key, nil) }
    public func insert(_ mark: Mark) async throws(StoreError) { try await insert(mark, nil) }
}

/// Key material, by what it is for.
public struct StoredSecret: Sendable, Hashable {
    public let id: String
    public let purpose: String
    public let value: [UInt8]
    public let createdAt: Timestamp
    public init(id: String, purpose: String, value: [UInt8], createdAt: Timestamp) {
        self.id = id
        self.purpose = purpose
        self.value = value
        self.createdAt = createdAt
    }
}
