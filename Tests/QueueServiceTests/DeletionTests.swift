import QueueEngine
import TestSupport
import Testing

@testable import QueueService

/// A queue that one instance deletes is gone at the others.
@Suite struct DeletionTests {
    /// Who is told of a deletion by a message, or finds it out by a write, is told that there is no such queue.
    @Test(arguments: StoreKind.allCases, [0, 100]) func deletedQueueIsGoneElsewhere(_ kind: StoreKind, lost percent: Int) async throws {
        let instances = try await Instances(kind, count: 2)
        let (one, other) = (instances.services[0], instances.services[1])
        let queue = try await instances.makeQueue(QueueConfiguration(releaseRatePerMinute: 0))
        let paused = try await instances.makeQueue(QueueConfiguration(releaseRatePerMinute: 0))
        instances.bus.lose(percent: percent)
        for id in [queue, paused] { try await one.delete(id, tenant: instances.tenant) }
        if percent == 0 {
            #expect(await eventually { await other.hosted.isEmpty })
        } else {
            await #expect(throws: ServiceError.noSuchQueue) { try await other.join(queue, visitor: Visitor(), holder: .polls) }
            await #expect(throws: ServiceError.noSuchQueue) { try await other.perform(.pause, on: paused, tenant: instances.tenant) }
            #expect(await other.hosted.isEmpty)
        }
    }
}
