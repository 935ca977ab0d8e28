import Locks
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

    private func faulty(_ kind: StoreKind) async throws -> (Instances, FaultyStore) {
        let made = Lock<FaultyStore?>(nil)
        let instances = try await Instances(kind, count: 1) { store in
            let faulty = FaultyStore(store)
            made.withLock { $0 = faulty }
            return faulty
        }
        return (instances, made.withLock { $0! })
    }

    /// A deletion was carried out, and the answer is lost: whoever asks for it again succeeds, and so finds it done.
    @Test(arguments: StoreKind.allCases) func deletionWhoseAnswerIsLostSucceedsWhenRepeated(_ kind: StoreKind) async throws {
        let (instances, store) = try await faulty(kind)
        let service = instances.services[0]
        let queue = try await instances.makeQueue(QueueConfiguration(releaseRatePerMinute: 0))
        _ = try await service.join(queue, visitor: Visitor(), holder: .connection)
        store.after { call throws(StoreError) in if call == .deleteQueue { throw .inDoubt("the answer is lost") } }
        await #expect(throws: ServiceError.self) { try await service.delete(queue, tenant: instances.tenant) }
        store.after { _ in }
        let appended = store.count(.append)
        try await service.delete(queue, tenant: instances.tenant)
        // It was closed and empty already: only the row was left to be looked at.
        #expect(store.count(.append) == appended)
        #expect(await service.hosted.isEmpty)
        await #expect(throws: ServiceError.noSuchQueue) { try await service.visit(queue) }
    }

    /// The same, where somebody writes to the queue before the deletion is asked for again.
    @Test(arguments: StoreKind.allCases) func queueWhoseDeletionIsInDoubtIsGoneOnceItIsWrittenTo(_ kind: StoreKind) async throws {
        let (instances, store) = try await faulty(kind)
        let service = instances.services[0]
        let queue = try await instances.makeQueue(QueueConfiguration(releaseRatePerMinute: 0))
        store.after { call throws(StoreError) in if call == .deleteQueue { throw .inDoubt("the answer is lost") } }
        await #expect(throws: ServiceError.self) { try await service.delete(queue, tenant: instances.tenant) }
        let opening = Task { try await service.perform(.open, on: queue, tenant: instances.tenant) }
        try #require(await eventually { await service.hosted.isEmpty })
        await #expect(throws: ServiceError.noSuchQueue) { try await opening.value }
    }
}
