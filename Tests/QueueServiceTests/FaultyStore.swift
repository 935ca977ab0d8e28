import Locks
import QueueEngine

@testable import QueueService

/// A real store in which single calls can be counted, held up, or answered otherwise.
final class FaultyStore: QueueStore {
    enum Call: Hashable {
        case append, beat, loadQueue(QueueID), missedEntries(QueueID), wakingQueues, deleteExpired, queueOfSlug, deleteQueue,
            endClosed, session, announcements
    }

    private struct State {
        var counts: [Call: Int] = [:]
        var before: @Sendable (Call) async throws(StoreError) -> Void = { _ in }
        var after: @Sendable (Call) throws(StoreError) -> Void = { _ in }
        var outcomes: @Sendable ([LogAppend]) -> [AppendOutcome]? = { _ in nil }
    }

    private let store: any QueueStore
    private let state = Lock(State())

    init(_ store: any QueueStore) { self.store = store }

    /// From now on `body` runs before each of the calls, and may throw in its place.
    func before(_ body: @escaping @Sendable (Call) async throws(StoreError) -> Void) { state.withLock { $0.before = body } }

    /// From now on `body` runs after an append or a deletion, and may throw as if its answer were lost.
    func after(_ body: @escaping @Sendable (Call) throws(StoreError) -> Void) { state.withLock { $0.after = body } }

    /// From now on batches of which `body` gives outcomes are not committed.
    func answer(_ body: @escaping @Sendable ([LogAppend]) -> [AppendOutcome]?) { state.withLock { $0.outcomes = body } }

    func count(_ call: Call) -> Int { state.withLock { $0.counts[call] ?? 0 } }

    private func begin(_ call: Call) async throws(StoreError) {
        let before = state.withLock { state in
            state.counts[call, default: 0] += 1
            return state.before
        }
        try await before(call)
    }

    private func end(_ call: Call) throws(StoreError) {
        let after = state.withLock { $0.after }
        try after(call)
    }

    func append(_ batch: [LogAppend], by instance: InstanceID) async throws(StoreError) -> [AppendOutcome] {
        try await begin(.append)
        if let outcomes = state.withLock({ $0.outcomes })(batch) { return outcomes }
        let outcomes = try await store.append(batch, by: instance)
        try end(.append)
        return outcomes
    }

    func beat(
        _ instance: InstanceID, lease: Timestamp.Span, capacity: Capacity?, after last: Beat.Count, known: [Beat.Head]
    ) async throws(StoreError) -> Beat {
        try await begin(.beat)
        return try await store.beat(instance, lease: lease, capacity: capacity, after: last, known: known)
    }

    func loadQueue(_ queue: QueueID) async throws(StoreError) -> StoredQueue? {
        try await begin(.loadQueue(queue))
        return try await store.loadQueue(queue)
    }

    func missedEntries(of queue: QueueID, after seq: UInt64, limit: Int) async throws(StoreError) -> [LogEntry] {
        try await begin(.missedEntries(queue))
        return try await store.missedEntries(of: queue, after: seq, limit: limit)
    }

    func wakingQueues(after point: WakePoint, through end: Timestamp, limit: Int) async throws(StoreError) -> [WakePoint] {
        try await begin(.wakingQueues)
        return try await store.wakingQueues(after: point, through: end, limit: limit)
    }

    func deleteExpired(_ rows: ExpiredRows, limit: Int) async throws(StoreError) -> ExpiredCount {
        try await begin(.deleteExpired)
        return try await store.deleteExpired(rows, limit: limit)
    }

    func queue(slug: String) async throws(StoreError) -> QueueID? {
        try await begin(.queueOfSlug)
        return try await store.queue(slug: slug)
    }

    func deleteQueue(_ queue: QueueID, tenant: TenantID, at seq: UInt64) async throws(StoreError) -> Bool {
        try await begin(.deleteQueue)
        let isDeleted = try await store.deleteQueue(queue, tenant: tenant, at: seq)
        try end(.deleteQueue)
        return isDeleted
    }

    func endClosed(_ queue: QueueID, limit: Int) async throws(StoreError) -> Int {
        try await begin(.endClosed)
        return try await store.endClosed(queue, limit: limit)
    }

    // Everything else is the store's.

    var isShared: Bool { store.isShared }
    func close() { store.close() }
    func entries(of queue: QueueID, after seq: UInt64, limit: Int) async throws(StoreError) -> [LogEntry] {
        try await store.entries(of: queue, after: seq, limit: limit)
    }
    func queues(of tenant: TenantID, after cursor: QueueID?, limit: Int) async throws(StoreError) -> [StoredQueue] {
        try await store.queues(of: tenant, after: cursor, limit: limit)
    }
    func logBounds(of queue: QueueID) async throws(StoreError) -> ClosedRange<UInt64>? { try await store.logBounds(of: queue) }
    func confirm(_ position: ConsumerPosition, limit: Int) async throws(StoreError) {
        try await store.confirm(position, limit: limit)
    }
    func closingQueues(limit: Int) async throws(StoreError) -> [QueueID] { try await store.closingQueues(limit: limit) }
    func beginHistory() async throws(StoreError) { try await store.beginHistory() }
    func beginHistory(insteadOf epoch: UInt64, of queue: QueueID) async throws(StoreError) {
        try await store.beginHistory(insteadOf: epoch, of: queue)
    }
    func deletedLog(of queue: QueueID, tenant: TenantID) async throws(StoreError) -> DeletedLog? {
        try await store.deletedLog(of: queue, tenant: tenant)
    }
    func endLease(_ instance: InstanceID) async throws(StoreError) { try await store.endLease(instance) }
    func removeLease(_ instance: InstanceID) async throws(StoreError) { try await store.removeLease(instance) }
    func held(by instance: InstanceID, in queue: QueueID) async throws(StoreError) -> [Ticket] {
        try await store.held(by: instance, in: queue)
    }
    func session(_ id: SessionID) async throws(StoreError) -> SessionRecord? {
        try await begin(.session)
        return try await store.session(id)
    }
    func currentSession(user: String, queue: QueueID, joining: Bool) async throws(StoreError) -> SessionRecord? {
        try await store.currentSession(user: user, queue: queue, joining: joining)
    }
    func sessions(tenant: TenantID, queue: QueueID?, status: SessionStatus?, after cursor: String?, limit: Int) async throws(StoreError)
        -> Page<SessionRecord>
    { try await store.sessions(tenant: tenant, queue: queue, status: status, after: cursor, limit: limit) }
    func announcements(of queue: QueueID, at now: Timestamp, limit: Int) async throws(StoreError) -> [Announcement] {
        try await begin(.announcements)
        return try await store.announcements(of: queue, at: now, limit: limit)
    }
    func averageWaits(of queues: [QueueID], last: Int) async throws(StoreError) -> [QueueID: Double] {
        try await store.averageWaits(of: queues, last: last)
    }
    func tenants() async throws(StoreError) -> [Tenant] { try await store.tenants() }
    func insert(_ tenant: Tenant) async throws(StoreError) { try await store.insert(tenant) }
    func insertFirst(_ tenant: Tenant) async throws(StoreError) -> Bool { try await store.insertFirst(tenant) }
    func keys() async throws(StoreError) -> [APIKey] { try await store.keys() }
    func insert(_ key: APIKey, _ receipt: Receipt?) async throws(StoreError) { try await store.insert(key, receipt) }
    func insertFirst(_ key: APIKey) async throws(StoreError) -> Bool { try await store.insertFirst(key) }
    func deleteKey(_ id: KeyID, tenant: TenantID) async throws(StoreError) -> Bool { try await store.deleteKey(id, tenant: tenant) }
    func receipt(tenant: TenantID, key: String) async throws(StoreError) -> Receipt? { try await store.receipt(tenant: tenant, key: key) }
    func secrets(_ purpose: String) async throws(StoreError) -> [StoredSecret] { try await store.secrets(purpose) }
    func insert(_ secret: StoredSecret) async throws(StoreError) { try await store.insert(secret) }
    func insertFirst(_ secret: StoredSecret) async throws(StoreError) -> Bool { try await store.insertFirst(secret) }
    func keep(_ hours: [StoredHour], of instance: InstanceID, since horizon: Int) async throws(StoreError) {
        try await store.keep(hours, of: instance, since: horizon)
    }
    func hours(since first: Int, limit: Int) async throws(StoreError) -> [StoredHour] { try await store.hours(since: first, limit: limit) }
    func requests(since first: Int) async throws(StoreError) -> (all: Int64, failed: Int64) { try await store.requests(since: first) }
    func insert(_ mark: Mark, _ receipt: Receipt?) async throws(StoreError) { try await store.insert(mark, receipt) }
    func marks(tenant: TenantID, since moment: Timestamp, limit: Int) async throws(StoreError) -> [Mark] {
        try await store.marks(tenant: tenant, since: moment, limit: limit)
    }
}
