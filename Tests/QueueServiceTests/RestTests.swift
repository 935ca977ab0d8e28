import Locks
import QueueEngine
import Testing
import TestSupport

@testable import QueueService

/// A queue that nobody visits costs its row in the store and nothing else.
@Suite struct RestTests {
    private func isServed(_ queue: QueueID, by service: QueueService) async -> Bool { await service.hosted[queue] != nil }

    /// Lets time pass until the service has put the queue to rest.
    private func comesToRest(_ queue: QueueID, at service: QueueService, _ instances: Instances) async -> Bool {
        await eventually(within: 300) {
            instances.clock.advance(.seconds(5))
            return await !isServed(queue, by: service)
        }
    }

    @Test(arguments: StoreKind.allCases) func quietQueueIsPutToRestAndComesBackWhenVisited(_ kind: StoreKind) async throws {
        let instances = try await Instances(kind, count: 2)
        let (one, other) = (instances.services[0], instances.services[1])
        let queue = try await instances.makeQueue(QueueConfiguration(maxConcurrentUsers: 7, releaseRatePerMinute: 6_000))
        let session = try await one.join(queue, visitor: Visitor(user: "ann"), holder: .connection).session
        #expect(try await one.queue(queue).state.admitted.count == 1)
        _ = try await one.complete(session.id, tenant: instances.tenant)
        for service in instances.services { #expect(await comesToRest(queue, at: service, instances)) }
        let slug = try await one.queues(of: instances.tenant, after: nil, limit: 10)[0].record.slug
        #expect(await !isServed(queue, by: one))
        #expect(try await other.resolve(slug, tenant: instances.tenant) == queue)
        #expect(try await other.queue(queue).state.configuration.maxConcurrentUsers == 7)
        #expect(try await other.join(queue, visitor: Visitor(), holder: .connection).session.ticket.number == 2)
    }

    @Test func queueWithSomebodyInItIsNotPutToRest() async throws {
        let instances = try await Instances(count: 1)
        let service = instances.services[0]
        let waiting = try await instances.makeQueue(QueueConfiguration(releaseRatePerMinute: 0))
        let followed = try await instances.makeQueue(QueueConfiguration())
        let quiet = try await instances.makeQueue(QueueConfiguration())
        _ = try await service.join(waiting, visitor: Visitor(), holder: .connection)
        var pin: QueuePin? = await service.follow(followed)
        #expect(await comesToRest(quiet, at: service, instances))
        #expect(await isServed(waiting, by: service))
        #expect(await isServed(followed, by: service))
        _ = pin
        pin = nil
        #expect(await comesToRest(followed, at: service, instances))
    }

    /// A deadline that is set elsewhere, and is near, is known to whoever is first in turn.
    @Test func queueAtRestIsServedWhereADeadlineNearIsSetElsewhere() async throws {
        let instances = try await Instances(.postgres, count: 2)
        let (one, other) = (instances.services[0], instances.services[1])
        let queue = try await instances.makeQueue(QueueConfiguration())
        #expect(await comesToRest(queue, at: other, instances))
        try await one.visit(queue)
        let month = instances.clock.now() + .seconds(30 * 86_400)
        _ = try await one.update(queue, tenant: instances.tenant) { $0.configuration.closesAt = month }
        let near = instances.clock.now() + .seconds(40)
        _ = try await one.update(queue, tenant: instances.tenant) { $0.configuration.closesAt = near }
        // Long before the next heartbeat.
        #expect(
            await eventually(within: 60) {
                if instances.clock.now() < near - .seconds(39) { instances.clock.advance(.milliseconds(10)) }
                return await isServed(queue, by: other)
            })
    }

    /// A queue at rest opens at its moment, and closes at its moment, although nobody asks for it.
    @Test(arguments: StoreKind.allCases) func queueAtRestIsServedBeforeItsDeadline(_ kind: StoreKind) async throws {
        let instances = try await Instances(kind, count: 1)
        let service = instances.services[0]
        let opensAt = instances.clock.now() + .seconds(30 * 86_400)
        var configuration = QueueConfiguration(opensAt: opensAt)
        configuration.closesAt = opensAt + .seconds(3_600)
        let queue = try await instances.makeQueue(configuration)
        #expect(await comesToRest(queue, at: service, instances))
        instances.clock.advance(opensAt - .seconds(50) - instances.clock.now())
        await service.beat()
        #expect(await isServed(queue, by: service))
        instances.clock.advance(.seconds(49))
        #expect(
            try await eventually {
                instances.clock.advance(.milliseconds(100))
                return try await service.queue(queue).state.status == .open
            })
        let opened = try await instances.store.entries(of: queue, after: 0, limit: 10).first { $0.event.change == .opened }
        #expect(try #require(opened).event.at < opensAt + .seconds(1))
    }

    /// Somebody joins at another instance while no message comes through: the heartbeat finds the queue.
    @Test(arguments: StoreKind.allCases) func heartbeatFindsQueueInWhichSomebodyHasCome(_ kind: StoreKind) async throws {
        let instances = try await Instances(kind, count: 2)
        instances.bus.lose(percent: 100)
        let (one, other) = (instances.services[0], instances.services[1])
        let queue = try await one.create(tenant: instances.tenant) { $0.configuration = QueueConfiguration(releaseRatePerMinute: 0) }
            .record.id
        await other.beat()
        #expect(await !isServed(queue, by: other))
        _ = try await one.join(queue, visitor: Visitor(), holder: .connection)
        await other.beat()
        #expect(try await other.queue(queue).state.waitingCount == 1)
    }

    /// Queues at rest are not read at the start, and the people in the others have their whole grace period.
    @Test(arguments: StoreKind.allCases) func startReadsOnlyQueuesWithSomebodyInThem(_ kind: StoreKind) async throws {
        let instances = try await Instances(kind, count: 1)
        let before = instances.services[0]
        for _ in 0..<20 { _ = try await instances.makeQueue(QueueConfiguration()) }
        let occupied = try await instances.makeQueue(QueueConfiguration(releaseRatePerMinute: 0))
        for _ in 0..<3 { _ = try await before.join(occupied, visitor: Visitor(), holder: .connection) }
        await before.stop()
        let again = try await instances.restarted()
        #expect(await again.hosted.count == 1)
        #expect(try await eventually { try await again.queue(occupied).state.absentCount == 3 })
    }

    /// A queue gives a slug up and another one takes it, and an instance hears of either first: the slug leads to its owner,
    /// and the store is asked only where the owner is not served yet.
    @Test(arguments: [true, false]) func slugLeadsToItsOwnerInWhateverOrderWordComes(isNewOwnerFirst: Bool) async throws {
        let instances = try await Instances(count: 2, store: FaultyStore.init)
        let store = instances.faultyStores[0]
        let (one, other) = (instances.services[0], instances.services[1])
        let first = try await one.create(tenant: instances.tenant) { $0.slug = "sale" }.record.id
        try await other.visit(first)
        instances.bus.lose(percent: 100)
        _ = try await one.update(first, tenant: instances.tenant) { $0.slug = "old-sale" }
        let second = try await one.create(tenant: instances.tenant) { $0.slug = "sale" }.record.id
        if isNewOwnerFirst {
            try await other.visit(second)
            await other.beat()
        } else {
            await other.beat()
            #expect(try await other.resolve("sale") == second)
            #expect(store.count(.queueOfSlug) == 1)
        }
        let asked = store.count(.queueOfSlug)
        #expect(try await other.resolve("sale") == second)
        #expect(try await other.resolve("old-sale") == first)
        #expect(store.count(.queueOfSlug) == asked)
    }

    /// A slug moves to another queue, and an instance has not heard of it: a command there goes to the queue that has it.
    @Test(arguments: StoreKind.allCases) func commandGoesToTheQueueThatHasTheSlugNow(_ kind: StoreKind) async throws {
        let instances = try await Instances(kind, count: 2)
        let (one, other, tenant) = (instances.services[0], instances.services[1], instances.tenant)
        let first = try await one.create(tenant: tenant) { $0.slug = "sale" }.record.id
        let second = try await one.create(tenant: tenant) { $0.slug = "second" }.record.id
        for id in [first, second] { try await other.visit(id) }
        instances.bus.lose(percent: 100)
        _ = try await one.update(first, tenant: tenant) { $0.slug = "first" }
        _ = try await one.update(second, tenant: tenant) { $0.slug = "sale" }
        #expect(try await other.resolve("sale", tenant: tenant) == first)
        #expect(try await other.resolveForCommand("sale", tenant: tenant) == second)
        #expect(try await other.resolveForCommand("first", tenant: tenant) == first)
        await #expect(throws: ServiceError.noSuchQueue) { try await other.resolveForCommand("second", tenant: tenant) }
        await #expect(throws: ServiceError.noSuchQueue) {
            try await other.resolveForCommand("sale", tenant: TenantID(high: 7, low: 7))
        }
    }

    /// A crowd joins a queue at another instance: the first word of it has the queue read, and all others wait for that.
    @Test func queueIsReadOnceHoweverManyMessagesTellOfIt() async throws {
        let instances = try await Instances(count: 2, store: FaultyStore.init)
        let (one, other, store) = (instances.services[0], instances.services[1], instances.faultyStores[0])
        instances.bus.lose(percent: 100)
        let queue = try await one.create(tenant: instances.tenant) { $0.configuration.releaseRatePerMinute = 0 }.record.id
        let session = try await one.join(queue, visitor: Visitor(), holder: .connection).session
        let epoch = try await one.queue(queue).record.epoch
        let event = QueueEvent(seq: 2, at: session.createdAt, change: .joined(session.ticket))
        let received = Received()
        store.before { call throws(StoreError) in
            guard call == .loadQueue(queue) else { return }
            // Until all have come: who asks the service afterwards stands behind them.
            _ = await eventually { received.count.withLock { $0 == 20 } }
            _ = await other.hosted
        }
        let message = BusMessage(queue: queue, epoch: epoch, head: 2, previous: nil, events: [event])
        var tasks: [Task<Void, Never>] = []
        for _ in 0..<20 {
            tasks.append(
                Task {
                    received.count.withLock { $0 += 1 }
                    await other.receive([message])
                })
        }
        for task in tasks { await task.value }
        #expect(await other.hosted.count == 1)
        #expect(store.count(.loadQueue(queue)) == 1)
    }
}

/// How many messages have come.
private final class Received: Sendable {
    let count = Lock(0)
}
