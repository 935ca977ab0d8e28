import EventLoop
import Fanout
import Logging
import QueueEngine
import Locks
import Telemetry
import TestSupport

@testable import QueueService

extension LoopSerialExecutor: ServiceExecutor {}

/// Time that a test moves.
final class ManualClock: ServiceClock {
    private struct State {
        var now = Timestamp(seconds: 1_700_000_000)
        var wakes: [(Timestamp, @Sendable () -> Void)] = []
        var wakesAsked = 0
    }
    private let state = Lock(State())

    func now() -> Timestamp { state.withLock { $0.now } }
    func calibrate(_ store: Timestamp, roundTrip: Timestamp.Span) {}
    func observe(_ moment: Timestamp) { state.withLock { $0.now = max($0.now, moment) } }
    func wake(at moment: Timestamp, _ body: @escaping @Sendable () -> Void) {
        let isDue = state.withLock { state in
            state.wakesAsked += 1
            guard moment > state.now else { return true }
            state.wakes.append((moment, body))
            return false
        }
        // The test may have let the moment pass before the service asked for it.
        if isDue { body() }
    }

    /// How often somebody asked to be woken.
    var wakesAsked: Int { state.withLock { $0.wakesAsked } }

    func advance(_ span: Timestamp.Span) {
        let due = state.withLock { state in
            state.now = state.now + span
            let due = state.wakes.filter { $0.0 <= state.now }
            state.wakes.removeAll { $0.0 <= state.now }
            return due
        }
        for (_, body) in due { body() }
    }
}

/// A bus that loses messages while it is told to.
final class LossyBus: EventBus {
    private let inner = InProcessBus()
    private let random: SeededSource
    private let loss = Lock(0)

    init(seed: UInt64) { random = SeededSource(seed: seed) }
    var health: BusHealth { inner.health }
    func lose(percent: Int) { loss.withLock { $0 = percent } }

    func publish(_ messages: [BusMessage], from sender: InstanceID) {
        let percent = loss.withLock { $0 }
        let kept = messages.filter { _ in Int(random.next() % 100) >= percent }
        if !kept.isEmpty { inner.publish(kept, from: sender) }
    }
    func subscribe(_ subscriber: InstanceID, _ receive: @escaping @Sendable ([BusMessage]) -> Void) { inner.subscribe(subscriber, receive) }
}

/// Several services over one real store, as several processes would be.
final class Instances: Sendable {
    let clock = ManualClock()
    let bus = LossyBus(seed: TestSeed.value)
    /// One for all where it is a file; where it is a server, each has its own connections.
    let stores: [any QueueStore]
    let services: [QueueService]
    let tenant = TenantID(high: 1, low: 1)
    let home: TestStore
    private let group: EventLoopGroup
    private let registry = PrometheusRegistry()

    var store: any QueueStore { stores[0] }
    /// The stores of instances that were made with `FaultyStore.init` around them.
    var faultyStores: [FaultyStore] { stores.compactMap { $0 as? FaultyStore } }

    /// What the services have counted together: a series with its labels, as Prometheus is told.
    func counted(_ series: String) -> Int { Int(figure(series)) }

    func figure(_ series: String) -> Double {
        let line = registry.text().split(separator: "\n").first { $0.hasPrefix(series + " ") }
        return line.flatMap { Double($0.dropFirst(series.count + 1)) } ?? 0
    }

    /// - Parameters:
    ///   - lease: by the store's clock, which no test moves.
    ///   - wrap: what a store is asked through.
    init(
        _ kind: StoreKind = .sqlite, count: Int, lease: Timestamp.Span = .seconds(60), retention: RetentionSettings = RetentionSettings(),
        restAfter: Timestamp.Span = .seconds(120), store wrap: (any QueueStore) -> any QueueStore = { $0 }
    ) async throws {
        group = try EventLoopGroup(count: count)
        home = try await TestStore(kind)
        var stores: [any QueueStore] = []
        for loop in group.loops { stores.append(try await kind == .sqlite && !stores.isEmpty ? stores[0] : wrap(home.open(on: loop))) }
        try await stores[0].insert(Tenant(id: tenant, name: "test"))
        services = zip(group.loops, stores).map { [clock, bus, registry] loop, store in
            Instances.service(
                loop, store, bus, clock, lease, retention, restAfter, registry, seed: TestSeed.value &+ UInt64(loop.index))
        }
        self.stores = stores
        for service in services { try await service.start() }
    }

    private static func service(
        _ loop: EventLoop, _ store: any QueueStore, _ bus: LossyBus, _ clock: ManualClock, _ lease: Timestamp.Span,
        _ retention: RetentionSettings = RetentionSettings(), _ restAfter: Timestamp.Span = .seconds(120),
        _ registry: PrometheusRegistry = PrometheusRegistry(),
        seed: UInt64
    ) -> QueueService {
        QueueService(
            executor: LoopSerialExecutor(loop), store: store, bus: bus, clock: clock, random: SeededSource(seed: seed),
            lease: LeaseSettings(duration: lease), retention: retention, restAfter: restAfter,
            measurements: QueueMeasurements(registry: registry),
            log: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() })
    }

    /// A new service on the same store, as after the death of all others.
    func restarted() async throws -> QueueService {
        for service in services { try await store.endLease(service.instance) }
        let service = Instances.service(group.loops[0], store, LossyBus(seed: 1), clock, .seconds(60), seed: 99)
        try await service.start()
        return service
    }

    deinit {
        for store in stores { store.close() }
        group.stop()
    }

    /// Time goes on by itself, for those who wait for something that a lost message does not bring.
    func whileTimePasses(_ body: () async throws -> Void) async rethrows {
        let passing = Task { [clock] in
            while !Task.isCancelled {
                clock.advance(.milliseconds(1))
                try? await Task.sleep(for: .milliseconds(1))
            }
        }
        defer { passing.cancel() }
        try await body()
    }

    func makeQueue(_ configuration: QueueConfiguration) async throws -> QueueID {
        let id = try await services[0].create(tenant: tenant) { $0.configuration = configuration }.record.id
        for service in services {
            try await service.visit(id)
        }
        return id
    }

    /// Invariant 6: when all is quiet, every replica equals one that is rebuilt from the store.
    func converge(_ queue: QueueID) async throws -> Bool {
        bus.lose(percent: 0)
        // Whoever writes learns of all that was written before.
        for service in services { _ = try await service.join(queue, visitor: Visitor(), holder: .connection) }
        return try await eventually {
            guard let stored = try await store.loadQueue(queue) else { return false }
            let truth = QueueState(stored.image)
            for service in services where await service.hosted[queue]?.state != truth { return false }
            return true
        }
    }
}
