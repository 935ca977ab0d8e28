import QueueEngine
import Testing
import TestSupport

@testable import QueueService

/// Concurrent changes of a queue's settings never overwrite each other silently.
@Suite struct SettingsTests {
    @Test(arguments: StoreKind.allCases) func versionChangesWithTheSettingsAndNothingElse(_ kind: StoreKind) async throws {
        let instances = try await Instances(kind, count: 1)
        let (service, tenant) = (instances.services[0], instances.tenant)
        let queue = try await instances.makeQueue(QueueConfiguration(releaseRatePerMinute: 0))
        let first = try await service.queue(queue).record.version
        _ = try await service.join(queue, visitor: Visitor(), holder: .polls)
        _ = try await service.perform(.pause, on: queue, tenant: tenant)
        #expect(try await service.queue(queue).record.version == first)
        var versions: Set = [first]
        let changes: [@Sendable (inout QueueRecord) -> Void] = [
            { $0.name = "n" }, { $0.description = "n" }, { $0.slug = "other" }, { $0.redirectURL = "http://a/" },
            { $0.configuration.graceSeconds = 7 }, { $0.configuration.maxWaiting = 5 },
            { $0.configuration.closesAt = Timestamp(seconds: 2e9) },
            { $0.configuration.priorityLanes = [PriorityLane(name: "a")] }, { $0.configuration.priorityLanes[0].sharePercent = 10 },
        ]
        for change in changes {
            let snapshot = try await service.update(queue, tenant: tenant, change)
            let version = snapshot.version
            #expect(version == snapshot.record.version)
            #expect(versions.insert(version).inserted)
        }
        // Another process that reads the settings names them alike.
        let stored = try await instances.store.loadQueue(queue)
        #expect(try await stored?.record.version == service.queue(queue).record.version)
    }

    @Test func changeMeantForOtherSettingsIsRefusedWhenItIsDecided() async throws {
        let instances = try await Instances(.postgres, count: 2)
        let (one, other, tenant) = (instances.services[0], instances.services[1], instances.tenant)
        let queue = try await instances.makeQueue(QueueConfiguration(maxConcurrentUsers: 1, releaseRatePerMinute: 0))
        let seen = QueueCondition.version([try await one.queue(queue).record.version])
        instances.bus.lose(percent: 100)
        _ = try await one.update(queue, tenant: tenant, if: seen) { $0.configuration.releaseRatePerMinute = 600 }
        // The other instance has not heard of it: its replica still matches.
        #expect(try await other.queue(queue).state.configuration.releaseRatePerMinute == 0)
        await #expect(throws: ServiceError.preconditionFailed) {
            try await other.update(queue, tenant: tenant, if: seen) { $0.configuration.maxConcurrentUsers = 9 }
        }
        await #expect(throws: ServiceError.preconditionFailed) { try await other.delete(queue, tenant: tenant, if: seen) }
        for verb in QueueService.Verb.allCases {
            await #expect(throws: ServiceError.preconditionFailed) { try await other.perform(verb, on: queue, tenant: tenant, if: seen) }
        }
        #expect(try await other.perform(.pause, on: queue, tenant: tenant, if: .exists).state.status == .paused)
        let now = try await other.update(queue, tenant: tenant, if: .exists) { $0.configuration.maxConcurrentUsers = 9 }.state.configuration
        #expect(now.releaseRatePerMinute == 600 && now.maxConcurrentUsers == 9)
        try await other.delete(queue, tenant: tenant, if: .version([try await other.queue(queue).record.version]))
    }

    /// Those who change something at the same moment, and catch up for it together, are all served.
    @Test func concurrentChangesAllSucceed() async throws {
        let instances = try await Instances(.postgres, count: 1)
        let (service, tenant) = (instances.services[0], instances.tenant)
        let queue = try await instances.makeQueue(QueueConfiguration(maxConcurrentUsers: 1, releaseRatePerMinute: 0))
        for round in 1...150 {
            try await withThrowingTaskGroup { group in
                for number in 0..<6 {
                    group.addTask {
                        _ = try await service.update(queue, tenant: tenant) { $0.configuration.graceSeconds = 1_000 * number + round }
                    }
                }
                try await group.waitForAll()
            }
        }
    }

    /// An operator's next command goes to another instance, which has not heard of the last one: it is done all the same,
    /// and not taken for something that was done before.
    @Test(arguments: StoreKind.allCases) func commandsAtInstancesThatLagAreDone(_ kind: StoreKind) async throws {
        let instances = try await Instances(kind, count: 2)
        let (one, other, tenant) = (instances.services[0], instances.services[1], instances.tenant)
        let queue = try await instances.makeQueue(QueueConfiguration(releaseRatePerMinute: 0))
        #expect(await eventually { (try? await other.visit(queue)) != nil })
        instances.bus.lose(percent: 100)
        for (first, second, end) in [
            (QueueService.Verb.pause, QueueService.Verb.resume, QueueStatus.open), (.close, .open, .open), (.pause, .close, .closed),
        ] {
            _ = try await one.perform(first, on: queue, tenant: tenant)
            #expect(try await other.perform(second, on: queue, tenant: tenant).state.status == end)
            #expect(try await QueueState(#require(instances.store.loadQueue(queue)).image).status == end)
        }
        let changed = try await one.update(queue, tenant: tenant) { $0.name = "first" }
        _ = try await other.update(queue, tenant: tenant, if: .version([changed.version])) { $0.name = "second" }
        #expect(try await instances.store.loadQueue(queue)?.record.name == "second")
    }

    /// What is refused leaves nothing behind, also where the settings say that time has something to bring.
    @Test(arguments: StoreKind.allCases) func queueThatCouldNotBeMadeIsNotThere(_ kind: StoreKind) async throws {
        let instances = try await Instances(kind, count: 1)
        let (service, tenant, now) = (instances.services[0], instances.tenant, instances.clock.now())
        let times: [(opens: Timestamp?, closes: Timestamp)] = [
            (nil, now - .seconds(1)), (now + .seconds(9), now - .seconds(1)), (now + .seconds(9), now + .seconds(5)),
        ]
        for (opens, closes) in times {
            await #expect(throws: ServiceError.self) {
                try await service.create(tenant: tenant) { record in
                    record.slug = "sale"
                    (record.configuration.opensAt, record.configuration.closesAt) = (opens, closes)
                }
            }
            #expect(try await instances.store.queue(slug: "sale") == nil)
        }
        _ = try await service.create(tenant: tenant) { $0.slug = "sale" }
    }
}
