import DequeModule
import Locks
public import Logging
public import QueueEngine
public import Telemetry

/// Everything that can be done with queues, each as one function.
///
/// It keeps a replica of each queue and decides against it; what it decides becomes true when the store has committed
/// it, and only then is anybody told. Commands that wait at the same time are committed together (group commit).
///
/// An actor on an executor that is given: a loop of the server, or a simulation's. No driver is known here.
public actor QueueService {
    nonisolated let executor: any ServiceExecutor
    nonisolated public var unownedExecutor: UnownedSerialExecutor { executor.asUnownedSerialExecutor() }

    /// What the others know this one by.
    nonisolated public let instance: InstanceID
    let lease: LeaseSettings
    let store: any QueueStore
    nonisolated public let bus: any EventBus
    let clock: any ServiceClock
    let random: any RandomSource
    let log: Logger

    var hosted: [QueueID: HostedQueue] = [:]
    var slugs: [String: QueueID] = [:]
    var observers: [any QueueObserver] = []
    var peers = Peers()
    /// As the store has counted it.
    var lastBeat = Beat.Count.none
    /// Which one the store tells, as of the last beat.
    var history: UInt64?
    var historyChanged: (@Sendable () async -> Void)?
    var capacity: (@Sendable () -> Capacity)?
    /// Beats that are in the store's hands.
    var beatsUnderWay = 0
    var isReleasingLeases = false
    var isLearning = false
    /// How many queues catch up at once: they share their connections with commits.
    let catchUpGate = CatchUpGate(limit: 16)
    typealias LookUp = Task<Result<Void, StoreError>, Never>
    /// Ids that are being looked for in the store; callers that ask for the same one share one look-up.
    var lookUps: [QueueID: LookUp] = [:]
    /// Queues that are being read because they must be served.
    var loads: [QueueID: LookUp] = [:]
    /// The newest message of each queue that is being read.
    var messagesAwaitingReads: [QueueID: BusMessage] = [:]
    var unreadable = UnreadableQueues()
    typealias SlugLookUp = Task<Result<QueueID?, StoreError>, Never>
    /// The same of slugs.
    var slugLookUps: [String: SlugLookUp] = [:]
    /// On whose behalf both are.
    var lookUpShares = LookUpShares()
    /// Up to which moment queues that wake are known here; nil: none are.
    var wakeSearchedThrough: Timestamp?
    /// Queues that will be at rest unless somebody visits them, and since when.
    var resting = Deque<(id: QueueID, since: Timestamp)>()
    /// How long a queue in which nobody is stays in memory after its last visit.
    let restAfter: Timestamp.Span
    let retention: RetentionSettings
    let limits: WorkLimits
    var memory: MemoryCache
    let shared: (any SharedCache)?
    /// Held by the task that reads a key's value, while others wait for what it reads.
    var loading = KeyedLock<CacheKey>()
    let measurements: QueueMeasurements
    let slow: SlowOperations?
    /// Commands that have not come to the executor yet.
    nonisolated let arrivals = Lock<[any PendingCommand]>([])
    var backlog = Backlog()
    var isCommitting = false
    /// Commits in a row that found this instance without a lease.
    var lapses = 0
    var wakes = WakePlan()
    private var plannedBeat = 0
    /// Until when the visitors of this instance, which is drained, come back elsewhere.
    private(set) var drainedUntil: Timestamp?
    /// Callers of `stop`, until nothing is under way any more.
    private var idleWaiters: [CheckedContinuation<Void, Never>] = []
    /// nil: the store can be written.
    public internal(set) var outage: Outage?
    /// When the leases of dead instances are released next, where a queue that cannot be read prevented it.
    var releaseAgainAt: [InstanceID: Timestamp] = [:]
    /// Queues that could not be read are being read again.
    var isReadingUnreadable = false
    /// Joins of which it is not known whether they were committed.
    var doubtful: [DoubtfulJoin] = []
    /// They are looked for again soon.
    var isSettlingPlanned = false
    /// This instance looks soon which queues wake.
    var isLookPlanned = false
    private(set) var life = Life.serving

    enum Life {
        case serving
        /// Time brings nothing any more; what was asked before is committed.
        case ending
        /// Nothing is asked of the store that would need a lease.
        case ended
    }

    /// Bytes of a slug.
    static let longestSlug = 64
    /// Queues that wake, read at once.
    static let wakePage = 1_000
    /// How much later than its own moment a change of a queue may be committed, clocks that differ among it.
    static let slowestNews = Timestamp.Span.seconds(60)
    /// How long a queue is left to the instance that it is reserved for, where nothing is heard of that one.
    static let reservationBackoff = Timestamp.Span.milliseconds(20)
    /// How long somebody without a connection counts as in sight after a join or a poll over REST.
    public static let pollLease = Timestamp.Span.seconds(30)

    /// - Parameters:
    ///   - shared: what instances keep for each other beside the store.
    ///   - retention: how long what is over is kept.
    ///   - restAfter: how long a queue in which nobody is stays in memory after its last visit.
    ///   - limits: how much is taken on at once.
    ///   - cacheCapacity: entries of logs that are kept in memory for those who read them.
    public init(
        instance: InstanceID? = nil, executor: any ServiceExecutor, store: any QueueStore, bus: any EventBus, clock: any ServiceClock,
        random: any RandomSource, lease: LeaseSettings = LeaseSettings(), shared: (any SharedCache)? = nil,
        retention: RetentionSettings = RetentionSettings(), restAfter: Timestamp.Span = .seconds(120), limits: WorkLimits = WorkLimits(),
        cacheCapacity: Int = 100_000,
        measurements: QueueMeasurements = QueueMeasurements(),
        slow: SlowOperations? = nil, log: Logger
    ) {
        self.instance = instance ?? random.identifier(at: clock.now())
        self.lease = lease
        self.shared = shared
        self.retention = retention
        self.restAfter = restAfter
        self.limits = limits
        memory = MemoryCache(capacity: cacheCapacity)
        self.measurements = measurements
        self.slow = slow
        self.executor = executor
        self.store = store
        self.bus = bus
        self.clock = clock
        self.random = random
        self.log = log
    }

    /// Takes a lease, rebuilds the replica of every queue in which somebody is, and begins to serve.
    ///
    /// Where no other instance serves the store nobody is connected anywhere: everyone who waits is absent from now on,
    /// with a whole grace period to come back in.
    public func start() async throws(StoreError) {
        _ = try await askForLease()
        let isAlone = peers.live.isEmpty
        bus.subscribe(instance) { [weak self] messages in
            self?.later { await $0.receive(messages) }
        }
        // Reading may take longer than a lease.
        scheduleBeat()
        try await wakeQueues()
        if isAlone {
            for (id, queue) in hosted where queue.state.waitingCount > 0 { markEveryoneAbsent(in: id) }
        }
        scheduleWake()
        scheduleRetention()
    }

    /// Nobody is connected anywhere: a whole grace period for everyone, from now on.
    func markEveryoneAbsent(in queue: QueueID) { changePresence(of: queue) { $0.isEveryoneAbsent = true } }

    /// Asks for several things with one hop to the service and back: each hop is a switch between threads.
    public func together<R: Sendable, E: Error>(
        _ ask: @Sendable (isolated QueueService) async throws(E) -> R
    ) async throws(E) -> R { try await ask(self) }

    /// From now on visitors are sent away, each with a moment of its own to come back within `span`: the line waits for
    /// them.
    public func beginDrain(over span: Timestamp.Span) { drainedUntil = clock.now() + span }

    /// Releases nobody any more, and returns once what was asked before is committed or refused. What is asked from then
    /// on is refused. The others are told.
    public func stop() async {
        takeArrivals()
        life = .ending
        // A heartbeat that is under way would take the lease again.
        while isCommitting || beatsUnderWay > 0 || backlog.commandCount > 0 {
            await withCheckedContinuation { idleWaiters.append($0) }
        }
        life = .ended
        if outage == nil { try? await store.endLease(instance) }
        bus.stop()
    }

    /// Something that `stop` waits for has ended.
    func resumeIdleWaiters() {
        let waiters = idleWaiters
        idleWaiters = []
        for waiter in waiters { waiter.resume() }
    }

    // MARK: Observers

    /// Every queue as it is now.
    public var snapshots: [QueueSnapshot] { hosted.values.compactMap(\.snapshot) }

    /// Tells `observer` of every queue as it is now, and from then on of every change.
    public func observe(_ observer: any QueueObserver) {
        observers.append(observer)
        for queue in hosted.values {
            guard let snapshot = queue.snapshot else { continue }
            observer.queueChanged(QueueUpdate(snapshot: snapshot, events: [], announcements: queue.announcements.reversed()))
        }
        if let outage { observer.stalenessChanged(outage.since) }
    }

    func notify(
        _ queue: QueueID, events: [QueueEvent], announcements: [Announcement] = [],
        movedAway: [(ticket: Ticket, at: Timestamp)] = []
    ) {
        guard let now = hosted[queue] else { return }
        clock.observe(now.state.lastEventAt)
        let snapshot = QueueSnapshot(
            record: now.record, state: now.state, at: clock.now(), staleSince: now.staleSince, after: now.snapshot)
        hosted[queue]?.snapshot = snapshot
        let update = QueueUpdate(snapshot: snapshot, events: events, announcements: announcements, movedAway: movedAway)
        for observer in observers { observer.queueChanged(update) }
    }

    /// The queue's record has changed, its slug perhaps with it.
    func rename(_ old: QueueRecord, to new: QueueRecord) {
        hosted[new.id]?.record = new
        guard old.slug != new.slug else { return }
        // Another queue may have taken the slug, and be known here already.
        if slugs[old.slug] == old.id { slugs[old.slug] = nil }
        slugs[new.slug] = new.id
    }

    func beginOutage(_ error: StoreError) {
        if outage == nil { log.error("the store cannot be written; nothing is released") }
        let since = outage?.since ?? clock.now()
        let isNew = outage == nil
        outage = Outage(
            since: since, error: ServiceError(error), refusedAt: error.isOfCommits ? clock.now() : outage?.refusedAt,
            allowsReading: error.isOfCommits)
        // Commands that were accepted for a trial commit, which is not made now.
        for command in backlog.takeCommands() { command.fail(ServiceError(error)) }
        guard isNew else { return }
        resumeIdleWaiters()
        for observer in observers { observer.stalenessChanged(since) }
        scheduleBeat()
    }

    /// The store has answered a heartbeat.
    func tryToEndOutage() {
        guard let refusedAt = outage?.refusedAt else { return endOutage() }
        outage?.allowsReading = true
        // The trial commit has not been answered yet.
        guard !isCommitting else { return }
        if !backlog.hasWork, clock.now() - refusedAt > Outage.forgottenAfter { return endOutage() }
        outage?.mayTry = true
        beginCommitting()
    }

    /// The store can be written.
    func endOutage() {
        guard outage != nil else { return }
        outage = nil
        log.notice("the store is back")
        beginCommitting()
        scheduleWake()
        for observer in observers { observer.stalenessChanged(nil) }
        if !doubtful.isEmpty { Task { await settleDoubts() } }
    }

    // MARK: Heartbeats

    /// Plans the next beat, in place of one that was planned before: soon, where the store is away.
    private func scheduleBeat() {
        plannedBeat += 1
        wake(at: clock.now() + (outage == nil ? lease.beat : min(lease.beat, .seconds(1)))) { [plannedBeat] service in
            await service.beat(planned: plannedBeat)
        }
    }

    private func beat(planned: Int) async {
        guard planned == plannedBeat else { return }
        // What it brings to know is read apart: the next heartbeat does not wait for it.
        if let heartbeat = await renewLease() { Task { await learnOnce(heartbeat) } }
        scheduleBeat()
    }

    nonisolated func publish(_ messages: [BusMessage]) { bus.publish(messages, from: instance) }
}

extension QueueEvent.Change {
    var isConfigured: Bool { if case .configured = self { true } else { false } }
    var isClosing: Bool { if case .closed = self { true } else { false } }
    var isAdmission: Bool { if case .admitted = self { true } else { false } }
}
