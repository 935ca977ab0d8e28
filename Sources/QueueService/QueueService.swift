public import Logging
public import QueueEngine

/// Everything that can be done with queues, each as one function.
///
/// It keeps a replica of each queue and decides against it; what it decides becomes true when the store has committed
/// it, and only then is anybody told. Commands that wait at the same time are committed together (group commit).
///
/// An actor on an executor that is given: a loop of the server, or a simulation's. No driver is known here.
public actor QueueService {
    nonisolated let executor: any SerialExecutor
    nonisolated public var unownedExecutor: UnownedSerialExecutor { executor.asUnownedSerialExecutor() }

    let store: any QueueStore
    let bus: any EventBus
    let clock: any ServiceClock
    let random: any RandomSource
    let log: Logger

    var hosted: [QueueID: HostedQueue] = [:]
    var slugs: [String: QueueID] = [:]
    private var observers: [any QueueObserver] = []
    var pending: [any PendingCommand] = []
    var isCommitting = false
    private var nextWake: Timestamp?
    /// Since when the store cannot be written, and what those who ask for something are told; nil: it can.
    public private(set) var outage: (since: Timestamp, error: ServiceError)?
    /// Joins of which it is not known whether they were committed.
    var doubtful: [DoubtfulJoin] = []
    private var isStopped = false
    /// What `bus` knows this instance by.
    nonisolated private let identity = Identity()
    private final class Identity: Sendable {}

    /// Commands that may wait for the store at once.
    static let pendingLimit = 100_000
    /// How long somebody without a connection counts as in sight after a join or a poll over REST.
    public static let pollLease = Timestamp.Span.seconds(30)

    public init(
        executor: any SerialExecutor, store: any QueueStore, bus: any EventBus, clock: any ServiceClock,
        random: any RandomSource, log: Logger
    ) {
        self.executor = executor
        self.store = store
        self.bus = bus
        self.clock = clock
        self.random = random
        self.log = log
    }

    /// Rebuilds every replica from the store and begins to serve.
    ///
    /// - Parameter alone: no other instance serves this store, so nobody is connected anywhere: everyone who waits is
    ///   out of sight from now on, with a whole grace period to come back in.
    public func start(alone: Bool) async throws(StoreError) {
        bus.subscribe(identity) { [weak self] messages in
            guard let self else { return }
            Task { await self.receive(messages) }
        }
        for stored in try await store.loadQueues() { try await host(stored) }
        if alone {
            for queue in hosted.keys {
                enqueue(
                    StandingCommand(queue) { decision throws(ServiceError) in
                        let everyone = decision.state.allWaiting
                        try decision.run { state, now, log throws(QueueRefusal) in state.disconnect(everyone, anew: true, at: now, &log) }
                    })
            }
        }
        scheduleWake()
    }

    private func host(_ stored: StoredQueue) async throws(StoreError) {
        var queue = HostedQueue(record: stored.record, state: QueueState(stored.image))
        queue.announcements = try await store.announcements(of: stored.record.id, at: clock.now(), limit: 20)
        hosted[stored.record.id] = queue
        slugs[stored.record.slug] = stored.record.id
        notify(stored.record.id, events: [])
    }

    /// Releases nobody any more, and returns once what was asked before is committed or refused.
    public func stop() async {
        isStopped = true
        while isCommitting { await Task.yield() }
    }

    // MARK: Observers

    /// Tells `observer` of every queue as it is now, and from then on of every change.
    public func observe(_ observer: any QueueObserver) {
        observers.append(observer)
        for queue in hosted.values {
            guard let snapshot = queue.snapshot else { continue }
            observer.queueChanged(QueueUpdate(snapshot: snapshot, events: [], announcements: queue.announcements.reversed()))
        }
        if let outage { observer.stalenessChanged(outage.since) }
    }

    func notify(_ queue: QueueID, events: [QueueEvent], announcements: [Announcement] = []) {
        guard let now = hosted[queue] else { return }
        clock.observe(now.state.lastEventAt)
        let snapshot = QueueSnapshot(record: now.record, state: now.state, at: clock.now())
        hosted[queue]?.snapshot = snapshot
        let update = QueueUpdate(snapshot: snapshot, events: events, announcements: announcements)
        for observer in observers { observer.queueChanged(update) }
    }

    /// The queue's record has changed, its slug perhaps with it.
    func rename(_ old: QueueRecord, to new: QueueRecord) {
        hosted[new.id]?.record = new
        guard old.slug != new.slug else { return }
        slugs[old.slug] = nil
        slugs[new.slug] = new.id
    }

    func notifyRemoved(_ queue: QueueID) {
        for observer in observers { observer.queueRemoved(queue) }
    }

    func beginOutage(_ error: ServiceError) {
        if outage == nil { log.error("the store cannot be written; nothing is released") }
        let since = outage?.since ?? clock.now()
        if outage == nil { for observer in observers { observer.stalenessChanged(since) } }
        outage = (since, error)
    }

    /// The store answers.
    func endOutage() {
        guard outage != nil else { return }
        outage = nil
        log.notice("the store is back")
        for observer in observers { observer.stalenessChanged(nil) }
        if !doubtful.isEmpty { Task { await settleDoubts() } }
    }

    // MARK: Time

    /// Asks the clock to wake the service when time will next change something.
    func scheduleWake() {
        guard !isStopped else { return }
        let now = clock.now()
        var moments = hosted.values.compactMap { $0.nextWake(after: now) }
        if outage != nil { moments = [now + .seconds(1)] }
        guard let moment = moments.min(), nextWake.map({ moment < $0 || $0 < now }) ?? true else { return }
        nextWake = moment
        clock.wake(at: moment) { [weak self] in
            guard let self else { return }
            Task { await self.wake(moment) }
        }
    }

    private func wake(_ moment: Timestamp) async {
        if nextWake == moment { nextWake = nil }
        if outage != nil { await probeStore() }
        if outage == nil {
            let now = clock.now()
            for (id, queue) in hosted where queue.nextWake(after: now).map({ $0 <= now }) ?? false {
                enqueue(StandingCommand(id) { _ in })
            }
            if !pending.isEmpty { beginCommitting() }
        }
        scheduleWake()
    }

    /// Nothing may be due while the store is away, so that it is back must be found out.
    private func probeStore() async {
        do throws(StoreError) {
            try await store.probe()
            endOutage()
        } catch {}
    }

    // MARK: The bus

    private func receive(_ messages: [BusMessage]) async {
        for message in messages {
            guard let queue = hosted[message.queue] else {
                await adopt(message.queue)
                continue
            }
            guard queue.record.epoch == message.epoch else { continue }
            let new = message.events.filter { $0.seq > queue.state.head }
            guard let first = new.first else { continue }
            let needsStore = first.seq != queue.state.head + 1 || new.contains { $0.change.isConfigured || $0.change == .announced }
            if needsStore { await catchUp(message.queue) } else { apply(new, to: message.queue) }
        }
        scheduleWake()
    }

    /// A queue that another instance has made.
    private func adopt(_ queue: QueueID) async {
        do throws(StoreError) {
            if let stored = try await store.loadQueue(queue), hosted[queue] == nil { try await host(stored) }
        } catch {
            log.warning("a queue could not be read", metadata: ["queue": "\(queue)", "error": "\(error)"])
        }
    }

    private func apply(_ events: [QueueEvent], to id: QueueID) {
        for event in events where event.seq == (hosted[id]?.state.head ?? 0) + 1 {
            hosted[id]?.state.apply(event)
        }
        notify(id, events: events)
    }

    /// Reads what the replica has missed from the store.
    func catchUp(_ id: QueueID) async {
        guard let queue = hosted[id], !queue.isCatchingUp else { return }
        hosted[id]?.isCatchingUp = true
        defer { hosted[id]?.isCatchingUp = false }
        do throws(StoreError) {
            while let head = hosted[id]?.state.head {
                let entries = try await store.entries(of: id, after: head, limit: 1_000)
                let new = entries.filter { $0.event.seq > hosted[id]?.state.head ?? .max }
                if new.isEmpty { return }
                if new.contains(where: { $0.event.change.isConfigured }), let old = hosted[id]?.record,
                    let stored = try await store.loadQueue(id)
                {
                    rename(old, to: stored.record)
                }
                for entry in new where entry.event.seq == (hosted[id]?.state.head ?? 0) + 1 { hosted[id]?.state.apply(entry.event) }
                let announcements = new.compactMap(\.announcement)
                hosted[id]?.announcements.prepend(announcements)
                notify(id, events: new.map(\.event), announcements: announcements)
            }
        } catch {
            log.warning("the log could not be read", metadata: ["queue": "\(id)", "error": "\(error)"])
        }
    }

    nonisolated func publish(_ messages: [BusMessage]) { bus.publish(messages, from: identity) }
}

extension HostedQueue {
    /// When time will next change something.
    func nextWake(after now: Timestamp) -> Timestamp? {
        guard snapshot != nil else { return nil }
        return [state.nextWake(after: now), presence.nextLapse].compactMap { $0 }.min()
    }
}

extension QueueEvent.Change {
    var isConfigured: Bool { if case .configured = self { true } else { false } }
}
