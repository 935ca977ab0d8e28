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
        try #require(await eventually { await other.hosted.isEmpty })

        for service in [one, other] {
            let log = try await service.log(of: "\(queue)", tenant: instances.tenant)
            #expect(log.epoch == epoch)
            var (seq, last) = (UInt64(0), QueueEvent.Change?.none)
            await #expect(throws: ServiceError.noSuchQueue) {
                while true {
                    let entries = try await service.entries(of: queue, tenant: instances.tenant, after: seq, epoch: epoch)
                    #expect(entries.map(\.event.seq) == Array(seq + 1...seq + UInt64(entries.count)))
                    let entry = try #require(entries.last)
                    (seq, last) = (entry.event.seq, entry.event.change)
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
        let instances = try await Instances(kind, count: 1, store: FaultyStore.init)
        return (instances, instances.faultyStores[0])
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

    /// Somebody opens the queue again while it is being deleted, and somebody joins: that place ends, too.
    @Test(arguments: StoreKind.allCases) func queueThatIsOpenedWhileItIsDeletedEndsEveryone(_ kind: StoreKind) async throws {
        let (instances, store) = try await faulty(kind)
        let (service, tenant) = (instances.services[0], instances.tenant)
        let queue = try await instances.makeQueue(QueueConfiguration(releaseRatePerMinute: 0))
        let late = Lock<SessionID?>(nil)
        store.before { call throws(StoreError) in
            guard call == .deleteQueue, late.withLock({ $0 == nil }) else { return }
            _ = try? await service.perform(.open, on: queue, tenant: tenant)
            let joined = try? await service.join(queue, visitor: Visitor(), holder: .connection)
            late.withLock { $0 = joined?.session.id }
        }
        try await service.delete(queue, tenant: tenant)
        let session = try #require(late.withLock { $0 })
        #expect(try await !service.session(session).isUnderWay)
        #expect(await service.hosted.isEmpty)
    }

    /// A commit is under way while the queue is deleted: whoever waits for it is told that the queue is gone.
    @Test(arguments: StoreKind.allCases) func commitThatADeletionOvertakesIsAnswered(_ kind: StoreKind) async throws {
        let (instances, store) = try await faulty(kind)
        let (service, tenant) = (instances.services[0], instances.tenant)
        let queue = try await instances.makeQueue(QueueConfiguration(releaseRatePerMinute: 0))
        _ = try await service.perform(.close, on: queue, tenant: tenant)
        let announcing = Lock<Task<ServiceError?, Never>?>(nil)
        let appended = store.count(.append)
        store.before { call throws(StoreError) in
            switch call {
            case .deleteQueue:
                let task = Task {
                    do throws(ServiceError) {
                        _ = try await service.announce("late", severity: .info, expiresAt: nil, to: queue, tenant: tenant)
                        return ServiceError?.none
                    } catch { return error }
                }
                announcing.withLock { $0 = task }
                _ = await eventually { store.count(.append) > appended }
            case .append: _ = await eventually { await service.hosted.isEmpty }
            default: break
            }
        }
        try await service.delete(queue, tenant: tenant)
        let answer = Lock<ServiceError??>(nil)
        Task {
            let error = await announcing.withLock { $0 }!.value
            answer.withLock { $0 = error }
        }
        #expect(await eventually { answer.withLock { $0 } == .some(.noSuchQueue) })
    }

    /// Of a queue that is closed and empty a deletion writes nothing before it deletes: its condition holds until then.
    @Test(arguments: StoreKind.allCases) func deletionMeantForOtherSettingsIsRefusedToTheLast(_ kind: StoreKind) async throws {
        let (instances, store) = try await faulty(kind)
        let (service, tenant) = (instances.services[0], instances.tenant)
        let queue = try await instances.makeQueue(QueueConfiguration(releaseRatePerMinute: 0))
        let seen = try await service.perform(.close, on: queue, tenant: tenant).version
        let isChanged = Lock(false)
        store.before { call throws(StoreError) in
            guard call == .deleteQueue, isChanged.withLock({ !$0 }) else { return }
            isChanged.withLock { $0 = true }
            _ = try? await service.update(queue, tenant: tenant) { $0.name = "wanted" }
        }
        await #expect(throws: ServiceError.preconditionFailed) {
            try await service.delete(queue, tenant: tenant, if: .version([seen]))
        }
        #expect(try await service.queue(queue).record.name == "wanted")
    }
}
