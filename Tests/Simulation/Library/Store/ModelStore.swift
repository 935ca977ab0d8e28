import Locks
public import QueueEngine
public import QueueService

/// What an instance asks of its store, for whoever decides how that goes.
public enum StoreCall: String, Sendable, CaseIterable {
    case append, beat, lease, waking, load, entries, sessions, queues, write, retention, other
}

/// How calls reach the store, and their answers come back.
public protocol StoreGate: Sendable {
    /// Carries out `body` at some time, once or never, and returns what it gave or why that is not known.
    func pass<R: Sendable>(
        _ call: StoreCall, weight: Int, _ body: @escaping @Sendable () -> R
    ) async -> Result<R, StoreError>
}

/// Every call succeeds at once.
public struct OpenGate: StoreGate {
    public init() {}
    public func pass<R: Sendable>(_ call: StoreCall, weight: Int, _ body: @escaping @Sendable () -> R) async -> Result<R, StoreError> {
        .success(body())
    }
}

/// The database that the stores of several instances are connected to.
public final class ModelDatabase: Sendable {
    /// An append, and what became of it.
    struct Attempt {
        let append: LogAppend
        let instance: InstanceID
        let outcome: AppendOutcome
    }

    private let state: Lock<ModelState>
    private let clock: @Sendable () -> Timestamp
    private let observer = Lock<Observer?>(nil)
    /// Queues whose rows are locked, or damaged.
    private let refusals = Lock<[QueueID: StoreError]>([:])

    /// A closure in an object: one that is read out of a lock as it is gains a wrapper each time.
    private final class Observer: Sendable {
        let notify: @Sendable (Attempt) -> Void
        init(_ notify: @escaping @Sendable (Attempt) -> Void) { self.notify = notify }
    }

    /// - Parameters:
    ///   - reserves: whether a queue is kept for whoever lost a race, as Postgres does it.
    ///   - clock: the store's clock.
    public init(reserves: Bool, clock: @escaping @Sendable () -> Timestamp) {
        state = Lock(ModelState(reserves: reserves))
        self.clock = clock
    }

    /// Tells `observer` of every append that is carried out, in order.
    func observe(_ observer: @escaping @Sendable (Attempt) -> Void) {
        let observer = Observer(observer)
        self.observer.withLock { $0 = observer }
    }

    func transaction<R: Sendable>(_ body: (inout ModelState, Timestamp) -> R) -> R {
        let now = clock()
        return state.withLock { state in body(&state, now) }
    }

    /// From now on the queue's changes are refused with `error`; nil: they are taken again.
    func refuse(_ queue: QueueID, _ error: StoreError?) { refusals.withLock { $0[queue] = error } }

    func append(_ batch: [LogAppend], by instance: InstanceID) -> [AppendOutcome] {
        let refusals = refusals.withLock { $0 }
        let taken = refusals.isEmpty ? batch : batch.filter { refusals[$0.record.id] == nil }
        var results = taken.isEmpty ? [] : transaction { $0.append(taken, by: instance, at: $1) }[...]
        let outcomes = batch.map { append in refusals[append.record.id].map { .failed($0) } ?? results.removeFirst() }
        guard let observer = observer.withLock({ $0 }) else { return outcomes }
        for (append, outcome) in zip(batch, outcomes) {
            observer.notify(Attempt(append: append, instance: instance, outcome: outcome))
        }
        return outcomes
    }
}

/// A store in memory that keeps what every store promises; its gate decides what goes wrong on the way.
public final class ModelStore: QueueStore {
    let database: ModelDatabase
    let gate: any StoreGate

    public init(_ database: ModelDatabase, gate: any StoreGate = OpenGate()) {
        self.database = database
        self.gate = gate
    }

    public var isShared: Bool { true }
    public func close() {}

    func call<R: Sendable>(
        _ call: StoreCall, weight: Int = 1, _ body: @escaping @Sendable (inout ModelState, Timestamp) -> R
    ) async throws(StoreError) -> R {
        try await gate.pass(call, weight: weight) { [database] in database.transaction(body) }.get()
    }

    // MARK: The line

    public func append(_ batch: [LogAppend], by instance: InstanceID) async throws(StoreError) -> [AppendOutcome] {
        try await gate.pass(.append, weight: batch.reduce(batch.count) { $0 + $1.events.count }) { [database] in
            database.append(batch, by: instance)
        }.get()
    }

    public func wakingQueues(after point: WakePoint, through end: Timestamp, limit: Int) async throws(StoreError) -> [WakePoint] {
        try await call(.waking) { state, _ in state.waking(after: point, through: end, limit: limit) }
    }

    public func queues(of tenant: TenantID, after cursor: QueueID?, limit: Int) async throws(StoreError) -> [StoredQueue] {
        try await call(.queues) { state, _ in
            let all = state.queues.values.filter {
                $0.isActive && $0.record.tenant == tenant && $0.record.id > cursor ?? QueueID(high: 0, low: 0)
            }
            return all.sorted { $0.record.id < $1.record.id }.prefix(limit).map {
                StoredQueue(record: $0.record, image: state.row(of: $0), isOccupied: $0.isOccupied)
            }
        }
    }

    public func queue(slug: String) async throws(StoreError) -> QueueID? { try await call(.load) { state, _ in state.slugs[slug] } }

    public func loadQueue(_ queue: QueueID) async throws(StoreError) -> StoredQueue? {
        try await call(.load) { state, _ in state.image(of: queue) }
    }

    public func entries(of queue: QueueID, after seq: UInt64, limit: Int) async throws(StoreError) -> [LogEntry] {
        try await call(.entries) { state, _ in state.queues[queue]?.entries(after: seq, limit: limit) ?? [] }
    }

    public func logBounds(of queue: QueueID) async throws(StoreError) -> ClosedRange<UInt64>? {
        try await call(.entries) { state, _ in state.queues[queue]?.bounds }
    }

    public func confirm(_ position: ConsumerPosition, limit: Int) async throws(StoreError) {
        try await call(.write) { state, now in
            let consumer = ModelQueue.Consumer(name: position.name, key: position.key)
            guard let queue = state.queues[position.queue] else { return }
            if position.isExplicit || queue.consumers[consumer] == nil { queue.consumers[consumer] = (position.seq, now) }
            let others = queue.consumers.filter { $0.key.key == consumer.key && $0.key != consumer }
            for (surplus, _) in others.sorted(by: { $0.value.at > $1.value.at }).dropFirst(limit - 1) { queue.consumers[surplus] = nil }
        }
    }

    public func deleteExpired(_ rows: ExpiredRows, limit: Int) async throws(StoreError) -> ExpiredCount {
        try await call(.retention) { state, _ in state.deleteExpired(rows, limit: limit) }
    }

    public func endClosed(_ queue: QueueID, limit: Int) async throws(StoreError) -> Int {
        try await call(.write) { state, _ in state.endClosed(queue, limit: limit) }
    }

    public func closingQueues(limit: Int) async throws(StoreError) -> [QueueID] {
        try await call(.retention) { state, _ in
            Array(state.queues.values.filter { !$0.closing.isEmpty }.map(\.record.id).sorted().prefix(limit))
        }
    }

    public func beginHistory() async throws(StoreError) { try await call(.write) { state, now in state.beginHistory(at: now) } }

    public func beginHistory(insteadOf epoch: UInt64, of queue: QueueID) async throws(StoreError) {
        try await call(.write) { state, now in
            guard let known = state.queues[queue], known.isActive, known.record.epoch == epoch else { return }
            state.beginHistory(at: now)
        }
    }

    public func deleteQueue(_ queue: QueueID, tenant: TenantID, at seq: UInt64) async throws(StoreError) -> Bool {
        try await call(.write) { state, _ in state.delete(queue, tenant: tenant, at: seq) }
    }

    public func deletedLog(of queue: QueueID, tenant: TenantID) async throws(StoreError) -> DeletedLog? {
        try await call(.load) { state, _ in
            guard let queue = state.queues[queue], !queue.isActive, queue.record.tenant == tenant else { return nil }
            let head = queue.position.seq
            return DeletedLog(epoch: queue.record.epoch, first: queue.bounds?.lowerBound ?? head + 1, head: head)
        }
    }

    // MARK: Instances

    public func beat(
        _ instance: InstanceID, lease: Timestamp.Span, capacity: Capacity?, after last: Beat.Count, known: [Beat.Head]
    ) async throws(StoreError) -> Beat {
        try await call(.beat, weight: 1 + known.count) { state, now in
            state.beat(instance, lease: lease, capacity: capacity, after: last, known: known, at: now)
        }
    }

    public func endLease(_ instance: InstanceID) async throws(StoreError) {
        try await call(.lease) { state, now in if state.leases[instance] != nil { state.leases[instance]!.expiresAt = now } }
    }

    public func removeLease(_ instance: InstanceID) async throws(StoreError) {
        try await call(.lease) { state, now in
            if let lease = state.leases[instance], lease.expiresAt <= now { state.leases[instance] = nil }
        }
    }

    public func held(by instance: InstanceID, in queue: QueueID) async throws(StoreError) -> [Ticket] {
        try await call(.lease) { state, _ in state.queues[queue]?.held(by: instance) ?? [] }
    }
}
