import QueueEngine
import Testing
import TestSupport

@testable import QueueService

/// A queue in which nothing happens costs nothing: whatever happened in it before, no wake-up is left over.
@Suite struct IdleTests {
    private let configuration = QueueConfiguration(
        maxConcurrentUsers: 1, releaseRatePerMinute: 6_000, graceSeconds: 5, admissionTTLSeconds: 5)

    /// Lets 20 s pass in steps of 100 ms and returns how often the service asked to be woken meanwhile.
    private func wakesWhileNothingHappens(_ instances: Instances) async throws -> Int {
        try await settle(instances)
        let before = instances.clock.wakesAsked
        for _ in 0..<200 {
            instances.clock.advance(.milliseconds(100))
            try await settle(instances)
        }
        return instances.clock.wakesAsked - before
    }

    /// Lets the service do what it was woken for.
    private func settle(_ instances: Instances) async throws {
        for service in instances.services { #expect(await eventually { await !service.isBusy }) }
    }

    /// A heartbeat every six seconds, and one moment at which the deadline or the absence is looked at.
    private let heartbeats = 4

    @Test func completedAdmissionLeavesNoWakeBehind() async throws {
        let instances = try await Instances(count: 1)
        let service = instances.services[0]
        let queue = try await instances.makeQueue(configuration)
        let session = try await service.join(queue, visitor: Visitor(user: "ann"), holder: .connection).session
        #expect(try await service.queue(queue).state.admitted.count == 1)
        _ = try await service.complete(session.id, tenant: instances.tenant)
        #expect(try await wakesWhileNothingHappens(instances) <= heartbeats)
        #expect(instances.counted("stanchion_idle_ticks_total") == 0)
    }

    @Test func returnBeforeTheGracePeriodEndsLeavesNoWakeBehind() async throws {
        let instances = try await Instances(count: 1)
        let service = instances.services[0]
        var paused = configuration
        paused.releaseRatePerMinute = 0
        let queue = try await instances.makeQueue(paused)
        let ticket = try await service.join(queue, visitor: Visitor(), holder: .connection).session.ticket
        await service.closed(queue, [ticket])
        #expect(try await eventually { try await service.queue(queue).state.absentCount == 1 })
        await service.opened(queue, [ticket])
        #expect(try await eventually { try await service.queue(queue).state.absentCount == 0 })
        #expect(try await wakesWhileNothingHappens(instances) <= heartbeats)
        #expect(instances.counted("stanchion_idle_ticks_total") == 0)
    }

    /// An admission expires, and the instance that is not first in turn does not read the log again and again.
    @Test(arguments: StoreKind.allCases) func expiredAdmissionLeavesNoWakeBehind(_ kind: StoreKind) async throws {
        let instances = try await Instances(kind, count: 2)
        let queue = try await instances.makeQueue(configuration)
        _ = try await instances.services[0].join(queue, visitor: Visitor(), holder: .connection)
        instances.clock.advance(.seconds(8))
        #expect(
            try await eventually {
                instances.clock.advance(.milliseconds(100))
                return try await instances.services[1].queue(queue).state.admitted.isEmpty
            })
        #expect(try await wakesWhileNothingHappens(instances) <= 2 * heartbeats)
        #expect(instances.counted("stanchion_idle_ticks_total") == 0)
    }
}

extension QueueService {
    fileprivate var isBusy: Bool { isCommitting || beatsUnderWay > 0 || backlog.hasWork || hosted.values.contains { $0.isTicking } }
}
