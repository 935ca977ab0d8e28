import QueueEngine
import Testing
import TestSupport

@testable import QueueService

/// A completed operation that is repeated succeeds, and every retry ends.
@Suite struct RepetitionTests {
    private func once(_ key: String, _ instances: Instances) -> WriteOnce {
        WriteOnce(tenant: instances.tenant, key: key, requestHash: Array(key.utf8))
    }

    @Test(.timeLimit(.minutes(5)), arguments: StoreKind.allCases)
    func announcementRepeatedAfterHundredOthersIsTheFirstOne(_ kind: StoreKind) async throws {
        let instances = try await Instances(kind, count: 1)
        let service = instances.services[0]
        let queue = try await instances.makeQueue(QueueConfiguration())
        func announce(_ text: String, _ once: WriteOnce? = nil) async throws -> Announcement {
            try await service.announce(text, severity: .info, expiresAt: nil, to: queue, tenant: instances.tenant, once: once)
        }
        let first = try await announce("first", once("k", instances))
        for number in 0..<101 { _ = try await announce("\(number)") }
        #expect(try await announce("first", once("k", instances)) == first)
    }

    @Test(.timeLimit(.minutes(5))) func announcementThatIsGoneFromTheLogIsRefused() async throws {
        let instances = try await Instances(count: 1)
        let service = instances.services[0]
        let queue = try await instances.makeQueue(QueueConfiguration())
        func announce(_ text: String, _ once: WriteOnce? = nil) async throws {
            _ = try await service.announce(text, severity: .info, expiresAt: nil, to: queue, tenant: instances.tenant, once: once)
        }
        try await announce("first", once("k", instances))
        for number in 0..<101 { try await announce("\(number)") }
        let now = instances.clock.now() + .seconds(1)
        let old = ExpiredRows.LogAge(before: now, unseenSince: .distantPast, now: now)
        while try await instances.store.deleteExpired(.log(old), limit: 1_000).hasMore {}
        await #expect(throws: ServiceError.alreadyDone) { try await announce("first", once("k", instances)) }
    }

    /// A retry that overlaps the first try is not told that its own queue's slug is somebody else's.
    @Test(arguments: StoreKind.allCases) func overlappingCreationsMakeOneQueue(_ kind: StoreKind) async throws {
        let instances = try await Instances(kind, count: kind == .postgres ? 2 : 1)
        for round in 0..<15 {
            let once = once("k\(round)", instances)
            let made = try await withThrowingTaskGroup { group in
                for number in 0..<8 {
                    let service = instances.services[number % instances.services.count]
                    group.addTask { try await service.create(tenant: instances.tenant, once: once) { $0.slug = "s\(round)" }.record.id }
                }
                return try await group.reduce(into: Set<QueueID>()) { $0.insert($1) }
            }
            #expect(made.count == 1)
        }
    }

    /// Receipts may be kept for longer than sessions.
    @Test func joinWhoseSessionIsGoneIsRefused() async throws {
        let instances = try await Instances(count: 1)
        let service = instances.services[0]
        let queue = try await instances.makeQueue(QueueConfiguration(releaseRatePerMinute: 0))
        let once = once("k", instances)
        func join() async throws -> SessionRecord {
            try await service.join(queue, visitor: Visitor(), holder: .polls, once: once).session
        }
        let session = try await join()
        try await service.leave(queue, session.ticket)
        while try await instances.store.deleteExpired(.sessions(endedBefore: instances.clock.now() + .seconds(1)), limit: 9).hasMore {}
        await #expect(throws: ServiceError.alreadyDone) { try await join() }
    }

    @Test func concurrentCompletionsAndRemovalsAllSucceed() async throws {
        let instances = try await Instances(.postgres, count: 2)
        let queue = try await instances.makeQueue(QueueConfiguration(releaseRatePerMinute: 6_000))
        let tenant = instances.tenant
        for number in 0..<10 {
            let session = try await instances.services[0].join(queue, visitor: Visitor(), holder: .connection).session
            for service in instances.services { _ = try await service.queue(queue, knowing: session.ticket, of: session.id) }
            if number < 5 {
                #expect(
                    try await eventually {
                        instances.clock.advance(.milliseconds(100))
                        return try await instances.services[0].session(session.id).status == .admitted
                    })
            }
            try await instances.whileTimePasses {
                try await withThrowingTaskGroup { group in
                    for caller in 0..<6 {
                        let service = instances.services[caller % 2]
                        group.addTask {
                            number < 5
                                ? try await service.complete(session.id, tenant: tenant)
                                : try await service.remove(session.id, tenant: tenant)
                        }
                    }
                    for try await ended in group { #expect(ended.status == (number < 5 ? .completed : .expired)) }
                }
            }
        }
    }

    @Test func leavingTwiceIsLeavingOnce() async throws {
        let instances = try await Instances(count: 1)
        let service = instances.services[0]
        let queue = try await instances.makeQueue(QueueConfiguration(releaseRatePerMinute: 0))
        let session = try await service.join(queue, visitor: Visitor(), holder: .polls).session
        for _ in 0..<2 { try await service.leave(queue, session.ticket, of: session.id) }
        let removed = try await service.join(queue, visitor: Visitor(), holder: .polls).session
        _ = try await service.remove(removed.id, tenant: instances.tenant)
        await #expect(throws: ServiceError.refused(.ended)) { try await service.leave(queue, removed.ticket, of: removed.id) }
    }

    /// By its id, at any instance and for its tenant: a slug may lead to another queue by then.
    @Test(arguments: StoreKind.allCases) func deletingQueueTwiceIsDeletingItOnce(_ kind: StoreKind) async throws {
        let instances = try await Instances(kind, count: 2)
        let tenant = instances.tenant
        let queue = try await instances.makeQueue(QueueConfiguration(releaseRatePerMinute: 0))
        let slug = try await instances.services[0].queue(queue).record.slug
        for service in instances.services + instances.services {
            try await service.delete(named: "\(queue)", tenant: tenant)
        }
        for service in instances.services {
            await #expect(throws: ServiceError.noSuchQueue) { try await service.delete(named: slug, tenant: tenant) }
            await #expect(throws: ServiceError.noSuchQueue) {
                try await service.delete(named: "\(queue)", tenant: TenantID(high: 1, low: 2))
            }
        }
    }

    @Test(arguments: StoreKind.allCases) func deletingQueueEndsEverySessionInIt(_ kind: StoreKind) async throws {
        let instances = try await Instances(kind, count: 1)
        let service = instances.services[0]
        let queue = try await instances.makeQueue(QueueConfiguration(maxConcurrentUsers: 2_100, releaseRatePerMinute: 1_000_000))
        var sessions: [SessionID] = []
        for _ in 0..<2_110 { sessions.append(try await service.join(queue, visitor: Visitor(), holder: .connection).session.id) }
        #expect(
            try await eventually {
                instances.clock.advance(.milliseconds(100))
                return try await service.queue(queue).state.admitted.count == 2_100
            })
        try await service.delete(queue, tenant: instances.tenant)
        for session in sessions {
            let ended = try await service.session(session)
            #expect(ended.status == .expired && ended.endReason != nil && ended.endedAt != nil)
        }
        await #expect(throws: ServiceError.refused(.ended)) { try await service.complete(sessions[0], tenant: instances.tenant) }
        _ = try await service.remove(sessions[0], tenant: instances.tenant)
        // In bounded commits.
        let entries = try await instances.store.entries(of: queue, after: 0, limit: 100_000)
        let ended = entries.filter { if case .expired = $0.event.change { true } else { false } }
        #expect(ended.count == 2_100)
        #expect(ended.allSatisfy { $0.event.change.isRemoval })
    }
}

extension QueueEvent.Change {
    fileprivate var isRemoval: Bool { if case .expired(_, .removed) = self { true } else { false } }
}
