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

    /// A reader that had not read everything yet gets the rest, at whatever instance, and only then is told that the queue is
    /// gone. Nobody else can read it.
    @Test(arguments: StoreKind.allCases) func logOfADeletedQueueIsReadToItsEnd(_ kind: StoreKind) async throws {
        let instances = try await Instances(kind, count: 2)
        let (one, other) = (instances.services[0], instances.services[1])
        let queue = try await instances.makeQueue(QueueConfiguration(releaseRatePerMinute: 0))
        for _ in 0..<300 { _ = try await one.join(queue, visitor: Visitor(), holder: .polls) }
        let epoch = try await one.queue(queue).record.epoch
        try await one.delete(queue, tenant: instances.tenant)
        #expect(await eventually { await other.hosted.isEmpty })

        for service in [one, other] {
            let log = try await service.log(of: "\(queue)", tenant: instances.tenant)
            #expect(log.epoch == epoch)
            var (seq, last) = (UInt64(0), QueueEvent.Change?.none)
            await #expect(throws: ServiceError.noSuchQueue) {
                while true {
                    let entries = try await service.entries(of: queue, tenant: instances.tenant, after: seq, epoch: epoch)
                    #expect(entries.map(\.event.seq) == Array(seq + 1...seq + UInt64(entries.count)))
                    (seq, last) = (entries.last!.event.seq, entries.last!.event.change)
                }
            }
            #expect(seq == log.seq)
            #expect(last == .closed)
            await #expect(throws: ServiceError.logRestarted(epoch: epoch, first: 1, head: seq)) {
                try await service.entries(of: queue, tenant: instances.tenant, after: 0, epoch: epoch &+ 1)
            }
            await #expect(throws: ServiceError.noSuchQueue) {
                try await service.entries(of: queue, tenant: TenantID(high: 7, low: 7), after: 0, epoch: nil)
            }
            await #expect(throws: ServiceError.noSuchQueue) { try await service.log(of: "\(queue)", tenant: TenantID(high: 7, low: 7)) }
        }
    }
}
