import EventLoop
import Fanout
import Logging
import QueueEngine
import Storage
import Locks
import TestSupport

@testable import QueueService

/// Time that a test moves.
final class ManualClock: ServiceClock {
    private struct State {
        var now = Timestamp(seconds: 1_700_000_000)
        var wakes: [(Timestamp, @Sendable () -> Void)] = []
    }
    private let state = Lock(State())

    func now() -> Timestamp { state.withLock { $0.now } }
    func observe(_ moment: Timestamp) { state.withLock { $0.now = max($0.now, moment) } }
    func wake(at moment: Timestamp, _ body: @escaping @Sendable () -> Void) { state.withLock { $0.wakes.append((moment, body)) } }

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
    func lose(percent: Int) { loss.withLock { $0 = percent } }

    func publish(_ messages: [BusMessage], from sender: AnyObject) {
        let percent = loss.withLock { $0 }
        let kept = messages.filter { _ in Int(random.next() % 100) >= percent }
        if !kept.isEmpty { inner.publish(kept, from: sender) }
    }
    func subscribe(_ subscriber: AnyObject, _ receive: @escaping @Sendable ([BusMessage]) -> Void) { inner.subscribe(subscriber, receive) }
}

/// Several services over one real store, as several processes would be.
final class Instances: Sendable {
    let folder = TemporaryFolder()
    let clock = ManualClock()
    let bus = LossyBus(seed: TestSeed.value)
    let store: SQLiteStore
    let services: [QueueService]
    let tenant = TenantID(high: 1, low: 1)
    private let group: EventLoopGroup

    init(count: Int) async throws {
        store = try SQLiteStore(path: folder.file("db"), exclusively: true)
        group = try EventLoopGroup(count: count)
        try await store.insert(Tenant(id: tenant, name: "test"))
        services = group.loops.enumerated().map { [store, clock, bus] index, loop in
            Instances.service(loop, store, bus, clock, seed: TestSeed.value &+ UInt64(index))
        }
        for service in services { try await service.start(alone: false) }
    }

    private static func service(_ loop: EventLoop, _ store: SQLiteStore, _ bus: LossyBus, _ clock: ManualClock, seed: UInt64)
        -> QueueService
    {
        QueueService(
            executor: loop, store: store, bus: bus, clock: clock, random: SeededSource(seed: seed),
            log: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() })
    }

    /// A new service on the same store, as after the death of all others.
    func restarted() async throws -> QueueService {
        let service = Instances.service(group.loops[0], store, LossyBus(seed: 1), clock, seed: 99)
        try await service.start(alone: true)
        return service
    }

    deinit {
        group.stop()
        store.close()
    }

    func makeQueue(_ configuration: QueueConfiguration) async throws -> QueueID {
        let id = try await services[0].create(tenant: tenant) { $0.configuration = configuration }.record.id
        for service in services {
            guard await eventually({ (try? await service.queue(id)) != nil }) else { throw ServiceError.noSuchQueue }
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
