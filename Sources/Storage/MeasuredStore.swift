import EventLoop
public import QueueEngine
public import QueueService
public import Telemetry

/// A store of which it is measured how long it takes, and what becomes of what it is asked for.
public struct MeasuredStore: QueueStore {
    private let store: any QueueStore
    private let measurements: StoreMeasurements
    private let slow: SlowOperations?

    /// - Parameter slow: what it takes is a part of what is traced there.
    public init(_ store: any QueueStore, _ measurements: StoreMeasurements, slow: SlowOperations? = nil) {
        self.store = store
        self.measurements = measurements
        self.slow = slow
    }

    public var isShared: Bool { store.isShared }
    public func takeLoad() -> StoreLoad { store.takeLoad() }
    public var folder: String? { store.folder }
    public func close() { store.close() }
    public func diskUse() async throws(StoreError) -> DiskUse? {
        try await measure(.diskUse) { () throws(StoreError) in try await store.diskUse() }
    }

    private func measure<Answer: Sendable>(
        _ operation: StoreOperation, _ body: () async throws(StoreError) -> Answer
    ) async throws(StoreError) -> Answer {
        let began = EventLoop.monotonicNow()
        let traced = slow?.begin("store.\(operation.rawValue)")
        defer {
            let nanoseconds = EventLoop.monotonicNow() - began
            measurements.took(nanoseconds, operation)
            if let traced { traced.end() } else { slow?.took(nanoseconds, "store.\(operation.rawValue)") }
        }
        do throws(StoreError) { return try await body() } catch {
            measurements.failed(StoreFailure(error))
            throw error
        }
    }

    // MARK: The line

    public func append(_ batch: [LogAppend], by instance: InstanceID) async throws(StoreError) -> [AppendOutcome] {
        measurements.batch(queues: batch.count, events: batch.reduce(0) { $0 + $1.events.count })
        let outcomes = try await measure(.append) { () throws(StoreError) in try await store.append(batch, by: instance) }
        for outcome in outcomes {
            measurements.appended(AppendResult(outcome))
            if case .failed(let error) = outcome { measurements.failed(StoreFailure(error)) }
        }
        return outcomes
    }

    public func wakingQueues(after point: WakePoint, through end: Timestamp, limit: Int) async throws(StoreError) -> [WakePoint] {
        try await measure(.wakingQueues) { () throws(StoreError) in try await store.wakingQueues(after: point, through: end, limit: limit) }
    }

    public func queues(of tenant: TenantID, after cursor: QueueID?, limit: Int) async throws(StoreError) -> [StoredQueue] {
        try await measure(.listQueues) { () throws(StoreError) in try await store.queues(of: tenant, after: cursor, limit: limit) }
    }

    public func queue(slug: String) async throws(StoreError) -> QueueID? {
        try await measure(.findQueue) { () throws(StoreError) in try await store.queue(slug: slug) }
    }

    public func loadQueue(_ queue: QueueID) async throws(StoreError) -> StoredQueue? {
        try await measure(.loadQueue) { () throws(StoreError) in try await store.loadQueue(queue) }
    }

    public func loadServedQueue(_ queue: QueueID) async throws(StoreError) -> StoredQueue? {
        try await measure(.loadQueue) { () throws(StoreError) in try await store.loadServedQueue(queue) }
    }

    public func entries(of queue: QueueID, after seq: UInt64, limit: Int) async throws(StoreError) -> [LogEntry] {
        try await measure(.entries) { () throws(StoreError) in try await store.entries(of: queue, after: seq, limit: limit) }
    }

    public func missedEntries(of queue: QueueID, after seq: UInt64, limit: Int) async throws(StoreError) -> [LogEntry] {
        try await measure(.entries) { () throws(StoreError) in try await store.missedEntries(of: queue, after: seq, limit: limit) }
    }

    public func logBounds(of queue: QueueID) async throws(StoreError) -> ClosedRange<UInt64>? {
        try await measure(.logBounds) { () throws(StoreError) in try await store.logBounds(of: queue) }
    }

    public func deletedLog(of queue: QueueID, tenant: TenantID) async throws(StoreError) -> DeletedLog? {
        try await measure(.deletedLog) { () throws(StoreError) in try await store.deletedLog(of: queue, tenant: tenant) }
    }

    public func confirm(_ position: ConsumerPosition, limit: Int) async throws(StoreError) {
        try await measure(.confirm) { () throws(StoreError) in try await store.confirm(position, limit: limit) }
    }

    public func endClosed(_ queue: QueueID, limit: Int) async throws(StoreError) -> Int {
        try await measure(.endClosed) { () throws(StoreError) in try await store.endClosed(queue, limit: limit) }
    }

    public func closingQueues(limit: Int) async throws(StoreError) -> [QueueID] {
        try await measure(.closingQueues) { () throws(StoreError) in try await store.closingQueues(limit: limit) }
    }

    public func beginHistory() async throws(StoreError) {
        try await measure(.beginHistory) { () throws(StoreError) in try await store.beginHistory() }
    }
    public func beginHistory(insteadOf epoch: UInt64, of queue: QueueID) async throws(StoreError) {
        try await measure(.beginHistory) { () throws(StoreError) in try await store.beginHistory(insteadOf: epoch, of: queue) }
    }

    public func deleteQueue(_ queue: QueueID, tenant: TenantID, at seq: UInt64) async throws(StoreError) -> Bool {
        try await measure(.deleteQueue) { () throws(StoreError) in try await store.deleteQueue(queue, tenant: tenant, at: seq) }
    }

    // MARK: Instances

    public func beat(
        _ instance: InstanceID, lease: Timestamp.Span, capacity: Capacity?, after last: Beat.Count, known: [Beat.Head]
    ) async throws(StoreError) -> Beat {
        try await measure(.beat) { () throws(StoreError) in
            try await store.beat(instance, lease: lease, capacity: capacity, after: last, known: known)
        }
    }

    public func endLease(_ instance: InstanceID) async throws(StoreError) {
        try await measure(.leases) { () throws(StoreError) in try await store.endLease(instance) }
    }

    public func removeLease(_ instance: InstanceID) async throws(StoreError) {
        try await measure(.leases) { () throws(StoreError) in try await store.removeLease(instance) }
    }

    public func held(by instance: InstanceID, in queue: QueueID) async throws(StoreError) -> [Ticket] {
        try await measure(.leases) { () throws(StoreError) in try await store.held(by: instance, in: queue) }
    }

    // MARK: Sessions

    public func session(_ id: SessionID) async throws(StoreError) -> SessionRecord? {
        try await measure(.session) { () throws(StoreError) in try await store.session(id) }
    }

    public func currentSession(user: String, queue: QueueID, joining: Bool) async throws(StoreError) -> SessionRecord? {
        try await measure(.session) { () throws(StoreError) in try await store.currentSession(user: user, queue: queue, joining: joining) }
    }

    public func sessions(
        tenant: TenantID, queue: QueueID?, status: SessionStatus?, after cursor: String?, limit: Int
    ) async throws(StoreError) -> Page<SessionRecord> {
        try await measure(.sessions) { () throws(StoreError) in
            try await store.sessions(tenant: tenant, queue: queue, status: status, after: cursor, limit: limit)
        }
    }

    public func announcements(of queue: QueueID, at now: Timestamp, limit: Int) async throws(StoreError) -> [Announcement] {
        try await measure(.announcements) { () throws(StoreError) in try await store.announcements(of: queue, at: now, limit: limit) }
    }

    public func averageWaits(of queues: [QueueID], last: Int) async throws(StoreError) -> [QueueID: Double] {
        try await measure(.averageWait) { () throws(StoreError) in try await store.averageWaits(of: queues, last: last) }
    }

    // MARK: Tenants, keys, receipts, secrets

    public func tenants() async throws(StoreError) -> [Tenant] {
        try await measure(.registry) { () throws(StoreError) in try await store.tenants() }
    }

    public func insert(_ tenant: Tenant) async throws(StoreError) {
        try await measure(.registry) { () throws(StoreError) in try await store.insert(tenant) }
    }

    public func insertFirst(_ tenant: Tenant) async throws(StoreError) -> Bool {
        try await measure(.registry) { () throws(StoreError) in try await store.insertFirst(tenant) }
    }

    public func keys() async throws(StoreError) -> [APIKey] {
        try await measure(.registry) { () throws(StoreError) in try await store.keys() }
    }

    public func known(_ keys: [KeyID]) async throws(StoreError) -> Set<KeyID> {
        try await measure(.registry) { () throws(StoreError) in try await store.known(keys) }
    }

    public func insert(_ key: APIKey, _ receipt: Receipt?) async throws(StoreError) {
        try await measure(.registry) { () throws(StoreError) in try await store.insert(key, receipt) }
    }

    public func insertFirst(_ key: APIKey) async throws(StoreError) -> Bool {
        try await measure(.registry) { () throws(StoreError) in try await store.insertFirst(key) }
    }

    public func deleteKey(_ id: KeyID, tenant: TenantID) async throws(StoreError) -> Bool {
        try await measure(.registry) { () throws(StoreError) in try await store.deleteKey(id, tenant: tenant) }
    }

    public func receipt(tenant: TenantID, key: String) async throws(StoreError) -> Receipt? {
        try await measure(.registry) { () throws(StoreError) in try await store.receipt(tenant: tenant, key: key) }
    }

    public func secrets(_ purpose: String) async throws(StoreError) -> [StoredSecret] {
        try await measure(.registry) { () throws(StoreError) in try await store.secrets(purpose) }
    }

    public func insert(_ secret: StoredSecret) async throws(StoreError) {
        try await measure(.registry) { () throws(StoreError) in try await store.insert(secret) }
    }

    public func insertFirst(_ secret: StoredSecret) async throws(StoreError) -> Bool {
        try await measure(.registry) { () throws(StoreError) in try await store.insertFirst(secret) }
    }

    // MARK: Trends

    public func keep(_ hours: [StoredHour], of instance: InstanceID, since horizon: Int) async throws(StoreError) {
        try await measure(.trends) { () throws(StoreError) in try await store.keep(hours, of: instance, since: horizon) }
    }

    public func hours(since first: Int, limit: Int) async throws(StoreError) -> [StoredHour] {
        try await measure(.trends) { () throws(StoreError) in try await store.hours(since: first, limit: limit) }
    }

    public func requests(since first: Int) async throws(StoreError) -> (all: Int64, failed: Int64) {
        try await measure(.trends) { () throws(StoreError) in try await store.requests(since: first) }
    }

    public func insert(_ mark: Mark, _ receipt: Receipt?) async throws(StoreError) {
        try await measure(.trends) { () throws(StoreError) in try await store.insert(mark, receipt) }
    }

    public func marks(tenant: TenantID, since moment: Timestamp, limit: Int) async throws(StoreError) -> [Mark] {
        try await measure(.trends) { () throws(StoreError) in try await store.marks(tenant: tenant, since: moment, limit: limit) }
    }
}

extension MeasuredStore {
    public func deleteExpired(_ rows: ExpiredRows, limit: Int) async throws(StoreError) -> ExpiredCount {
        let count = try await measure(.deleteExpired) { () throws(StoreError) in try await store.deleteExpired(rows, limit: limit) }
        let now = Double(EventLoop.realtimeMicroseconds()) / 1e6
        measurements.expired(count.deleted, ExpiredKind(rows), isComplete: !count.hasMore, at: now)
        return count
    }
}

extension ExpiredKind {
    fileprivate init(_ rows: ExpiredRows) {
        self =
            switch rows {
            case .sessions: .sessions
            case .receipts: .receipts
            case .announcements: .announcements
            case .consumers: .consumers
            case .marks: .marks
            case .log: .log
            case .deletedQueues: .deletedQueues
            }
    }
}

extension StoreFailure {
    fileprivate init(_ error: StoreError) {
        self =
            switch error {
            case .full: .full
            case .unavailable: .unavailable
            case .inDoubt: .inDoubt
            case .corrupt: .corrupt
            case .busy: .busy
            case .rejected: .rejected
            }
    }
}

extension AppendResult {
    fileprivate init(_ outcome: AppendOutcome) {
        self =
            switch outcome {
            case .committed: .committed
            case .behind: .behind
            case .reserved: .reserved
            case .lapsed: .lapsed
            case .userConflict: .userConflict
            case .receiptConflict: .receiptConflict
            case .slugTaken: .slugTaken
            case .failed: .failed
            }
    }
}
