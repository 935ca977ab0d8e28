public import EventLoop
import Fanout
public import Logging
import Metrics
import QueueEngine
public import QueueService
import Storage
import Telemetry

/// A running server: loops with listeners, the service on a loop of its own, a store.
public final class Server: Sendable {
    public let address: SocketAddress
    /// An admin's key that was made at this start; nil where there was one.
    public let newAdminKey: String?

    private let core: ServerCore
    private let group: EventLoopGroup
    private let listeners: ListenerRegistry
    private let handles: [ServerCore.LiveHandle]
    private let recording: Task<Void, Never>

    /// Rebuilds what the store holds and begins to serve.
    ///
    /// - Parameter serviceLoop: what is decided about queues is decided there. The caller ends it, after the server.
    public static func start(
        _ settings: ServerSettings, store: any QueueStore, serviceLoop: EventLoop, log: Logger
    ) async throws -> Server {
        let measurements = Measurements(registry: PrometheusRegistry(isRecording: settings.countsMetrics))
        let slow =
            settings.slowMilliseconds > 0
            ? SlowOperations(milliseconds: settings.slowMilliseconds, registry: measurements.registry, log: log) : nil
        let store = MeasuredStore(store, measurements.store, slow: slow)
        let clock = SystemClock(loop: serviceLoop)
        let random = SystemRandom()
        let bootstrap = Bootstrap(store: store, random: random, now: clock.now())
        let (tenant, isNewStore) = try await bootstrap.tenant()
        let newAdminKey = try await bootstrap.adminKey(settings.adminKey, tenant: tenant)
        // Whoever has a file to itself loses it with its life: its lease is there for the form.
        let lease = LeaseSettings(duration: .seconds(store.isShared ? settings.leaseSeconds : 3_600))
        let instance = InstanceID(at: clock.now(), random: (random.next(), random.next()))
        var redis: RedisBus?
        if let address = settings.redis {
            redis = RedisBus(
                loop: serviceLoop, address: address, instance: instance, secret: try await bootstrap.busSecret(),
                measurements: measurements.bus, log: log)
        }
        let service = QueueService(
            instance: instance, executor: LoopSerialExecutor(serviceLoop), store: store, bus: redis ?? InProcessBus(), clock: clock,
            random: random, lease: lease, shared: redis,
            retention: settings.retention, restAfter: .seconds(settings.restSeconds), limits: settings.work,
            cacheCapacity: settings.cacheEntries,
            measurements: measurements.queues, slow: slow, log: log)
        try await redis?.start()
        let load = { @Sendable () async throws -> SecretRing.Secrets in
            try await Bootstrap(store: store, random: random, now: clock.now()).secrets(issuer: settings.issuer)
        }
        let core = try ServerCore(
            settings: settings, store: store, service: service, clock: clock, measurements: measurements,
            slow: slow, secrets: SecretRing(try await load(), load: load), log: log)
        try await core.keys.readNow()
        await service.whenHistoryChanges { [weak core] in await core?.restoreSecrets() }
        try await service.start()
        if isNewStore { try await Server.makeDemo(service, tenant) }
        return try await Server(core, serviceLoop, newAdminKey)
    }

    /// The queue `demo`, in a new store.
    private static func makeDemo(_ service: QueueService, _ tenant: TenantID) async throws {
        _ = try await service.create(tenant: tenant) { queue in
            queue.slug = "demo"
            queue.name = "Demo"
            queue.description = "A queue to look at."
            queue.configuration = QueueConfiguration(
                maxConcurrentUsers: 20, releaseRatePerMinute: 60, graceSeconds: 300, admissionTTLSeconds: 120)
        }
    }

    private init(_ core: ServerCore, _ serviceLoop: EventLoop, _ newAdminKey: String?) async throws {
        self.core = core
        self.newAdminKey = newAdminKey
        group = try EventLoopGroup(count: core.settings.loops ?? Int(Machine.processors.rounded(.up)))
        listeners = ListenerRegistry()
        let router = core.makeRouter()
        handles = group.loops.map { core.attach($0, router) }
        await core.service.observe(core.served)
        for handle in handles { await core.service.observe(LoopObserver(handle: handle)) }
        let load = LoadMeter(loops: group.loops.count)
        await core.service.report { core.capacity(load) }
        Server.watchMemory(core, on: serviceLoop)
        recording = Task.detached { await core.keepRecord() }
        let log = core.log
        let measurements = core.measurements
        address = try group.listen(
            on: core.settings.listen, sendBuffer: Int32(core.settings.answerBufferBytes),
            receiveBuffer: Int32(core.settings.requestBufferBytes)
        ) { event in
            switch event {
            case .exhausted(let error, let isFirst):
                measurements.acceptsExhausted.increment()
                guard isFirst else { break }
                log.error("no new connections for want of descriptors; those that are open are served", metadata: ["error": "\(error)"])
            case .recovered: log.notice("new connections are taken again")
            }
        } started: { [listeners] loop, listener in
            listeners.add(LoopBound(listener, to: loop), on: loop)
        } accepted: { [handles] loop, descriptor, peer in
            handles[loop.index].live.onLoop.intake.accept(descriptor, from: peer)
        }
    }

    private static func watchMemory(_ core: ServerCore, on loop: EventLoop) {
        loop.execute {
            if core.memory.look() {
                core.log.error(
                    core.memory.isShort ? "short of memory: no new connections" : "memory enough again: new connections are taken")
            }
            loop.schedule(after: 1_000_000_000) { watchMemory(core, on: loop) }
        }
    }

    /// Takes newly rotated secrets, new keys and new certificates into use. What cannot be read stays as it was.
    public func reload() async {
        do {
            try core.renewCertificates()
            if core.settings.tls != nil { core.log.notice("certificates were read anew") }
        } catch {
            core.log.error("certificates could not be read anew; the old ones stay", metadata: ["error": "\(error)"])
        }
        do {
            guard await core.secrets.renew() else { throw StoreError.unavailable("the secrets could not be read") }
            try await core.keys.readNow()
            core.log.notice("keys and secrets were read anew")
        } catch {
            core.log.error("keys and secrets could not be read anew; the old ones stay", metadata: ["error": "\(error)"])
        }
    }

    /// Stops accepting, tells everyone when to come back, lets them close, finishes what is being committed.
    /// Takes at most `drainSeconds`, and where the store does not answer the time limits of what it was asked for last.
    public func drain() async {
        listeners.closeAll()
        recording.cancel()
        let plan = DrainPlan(
            visitors: core.limits.connectionCount, others: await core.service.othersCapacity, longest: Double(core.settings.drainSeconds))
        await core.service.beginDrain(over: Timestamp.Span(microseconds: Int64((DrainPlan.pause + plan.seconds) * 1_000_000)))
        for handle in handles { handle.loop.execute { handle.live.onLoop.drain(plan) } }
        let deadline = ContinuousClock.now + .seconds(core.settings.drainSeconds)
        while await connectionCount() > 0, ContinuousClock.now < deadline { try? await Task.sleep(for: .milliseconds(20)) }
        await recording.value
        await core.service.stop()
        group.stop()
    }

    private func connectionCount() async -> Int {
        var count = 0
        for handle in handles {
            count += await withCheckedContinuation { done in
                handle.loop.execute { done.resume(returning: handle.live.onLoop.connectionCount) }
            }
        }
        return count
    }
}

/// Where the service lives.
extension LoopSerialExecutor: ServiceExecutor {}
