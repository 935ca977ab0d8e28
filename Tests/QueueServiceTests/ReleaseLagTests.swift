import QueueEngine
import Testing
import TestSupport

@testable import QueueService

/// How late releases are is counted from the moment at which somebody could have been admitted.
@Suite struct ReleaseLagTests {
    /// Sixty people at one a second, and nothing is decided for 26 s: whoever is admitted after that is 26 s late.
    @Test func outageCountsForEverybodyWhoStandsInLineThen() async throws {
        let (instances, service, queue) = try await line(of: 60, perMinute: 60)
        try await pass(seconds: 5, instances, queue)
        let before = try await admitted(service, queue)
        #expect(before >= 4 && mean(instances) < 1.1, "\(mean(instances))")
        let (sum, count) = figures(instances)

        instances.clock.advance(.seconds(26))
        try await pass(seconds: 30, instances, queue)
        #expect(try await admitted(service, queue) >= before + 29)
        let (laterSum, laterCount) = figures(instances)
        let late = (laterSum - sum) / (laterCount - count)
        #expect(late > 24 && late < 27.5, "\(late) s over \(laterCount - count) admissions")
    }

    /// A pace that was lowered, or raised and lowered again, makes nobody late.
    @Test func changedPaceIsNoDelay() async throws {
        let (instances, service, queue) = try await line(of: 100, perMinute: 600)
        for rate in [600, 6, 600, 12] {
            _ = try await service.update(queue, tenant: instances.tenant) { $0.configuration.releaseRatePerMinute = rate }
            let before = try await admitted(service, queue)
            try await pass(seconds: rate == 600 ? 2 : 75, instances, queue)
            #expect(try await admitted(service, queue) > before)
            #expect(mean(instances) < 1.1, "\(rate): \(mean(instances))")
        }
    }

    /// An outage that follows a raised pace counts at that pace.
    @Test func delayAfterARaisedPaceCounts() async throws {
        let (instances, service, queue) = try await line(of: 20, perMinute: 2)
        try await pass(seconds: 2, instances, queue)
        _ = try await service.update(queue, tenant: instances.tenant) { $0.configuration.releaseRatePerMinute = 60 }
        let (sum, count) = figures(instances)
        instances.clock.advance(.seconds(20))
        try await pass(seconds: 3, instances, queue)
        let (laterSum, laterCount) = figures(instances)
        #expect(laterCount > count && (laterSum - sum) / (laterCount - count) > 15, "\(laterSum - sum) s over \(laterCount - count)")
    }

    /// Once nobody waits for the pace any more the delay is over.
    @Test func delayEndsWithTheLine() async throws {
        let (instances, service, queue) = try await line(of: 4, perMinute: 60)
        instances.clock.advance(.seconds(26))
        try await pass(seconds: 6, instances, queue)
        #expect(try await admitted(service, queue) == 4)
        let (sum, count) = figures(instances)
        instances.clock.advance(.seconds(60))
        for _ in 0..<4 { _ = try await service.join(queue, visitor: Visitor(), holder: .connection) }
        try await pass(seconds: 6, instances, queue)
        let (laterSum, laterCount) = figures(instances)
        #expect(laterCount - count == 4 && (laterSum - sum) / 4 < 1.1, "\(laterSum - sum)")
    }

    @Test func whoPollsIsToldOnce() async throws {
        let (instances, service, queue) = try await line(of: 0, perMinute: 60)
        let connected = try await service.join(queue, visitor: Visitor(), holder: .connection).session.ticket
        let polls = try await service.join(queue, visitor: Visitor(), holder: .polls).session.ticket
        let both = try await service.join(queue, visitor: Visitor(), holder: .polls).session
        _ = try await service.resume(queue, both.ticket, of: both.id)
        #expect(await service.takeUntoldAdmission(queue, polls) == nil)
        try await pass(seconds: 4, instances, queue)
        #expect(try await admitted(service, queue) == 3)
        let moment = try #require(await service.takeUntoldAdmission(queue, polls))
        #expect(moment <= instances.clock.now())
        #expect(await service.takeUntoldAdmission(queue, polls) == nil)
        // The connection tells these.
        #expect(await service.takeUntoldAdmission(queue, connected) == nil)
        #expect(await service.takeUntoldAdmission(queue, both.ticket) == nil)
    }

    /// A queue in which so many people are connected and wait.
    private func line(of people: Int, perMinute rate: Int) async throws -> (Instances, QueueService, QueueID) {
        let instances = try await Instances(count: 1)
        let queue = try await instances.makeQueue(
            QueueConfiguration(maxConcurrentUsers: 1_000, releaseRatePerMinute: rate, graceSeconds: 600))
        for _ in 0..<people { _ = try await instances.services[0].join(queue, visitor: Visitor(), holder: .connection) }
        return (instances, instances.services[0], queue)
    }

    private func pass(seconds: Int, _ instances: Instances, _ queue: QueueID) async throws {
        for _ in 0..<(10 * seconds) {
            instances.clock.advance(.milliseconds(100))
            for service in instances.services {
                #expect(await eventually { await service.isQuiet(queue) })
            }
        }
    }

    private func admitted(_ service: QueueService, _ queue: QueueID) async throws -> Int {
        try await service.queue(queue).state.admitted.count
    }

    private func figures(_ instances: Instances) -> (sum: Double, count: Double) {
        (instances.figure("stanchion_release_lag_seconds_sum"), instances.figure("stanchion_release_lag_seconds_count"))
    }

    private func mean(_ instances: Instances) -> Double {
        let (sum, count) = figures(instances)
        return sum / max(1, count)
    }
}

extension QueueService {
    /// Nothing is under way in the queue, and nothing is due that has yet to begin.
    fileprivate func isQuiet(_ queue: QueueID) -> Bool {
        guard !isCommitting, !backlog.hasWork, let queue = hosted[queue], !queue.isTicking else { return false }
        let now = clock.now()
        return queue.nextWake(after: now, turn: 0).map { $0 > now } ?? true
    }
}
