import QueueEngine
import Testing
import TestSupport

@testable import QueueService

@Suite struct RetentionSettingsTests {
    private let now = Timestamp(seconds: 1_700_000_123)

    @Test func nothingExpiresWithoutASetting() {
        #expect(RetentionSettings().expired(at: now).isEmpty)
    }

    /// A write that is asked for again is answered with its session.
    @Test func sessionsStayAsLongAsReceipts() {
        var settings = RetentionSettings()
        (settings.sessions, settings.receipts) = (.seconds(60), .seconds(3_600))
        #expect(
            settings.expired(at: now) == [.sessions(endedBefore: now - .seconds(3_600)), .receipts(madeBefore: now - .seconds(3_600))])
    }

    @Test func consumersStayAsLongAsALogWaitsForThem() {
        var settings = RetentionSettings()
        (settings.consumers, settings.log) = (.seconds(60), .seconds(86_400))
        #expect(settings.expired(at: now).contains(.consumers(confirmedBefore: now - .seconds(3 * 86_400))))
    }

    /// Within a step the moment is the same, so that no queue is looked at twice.
    @Test func ageOfLogsMovesInSteps() {
        var settings = RetentionSettings()
        settings.log = .seconds(30 * 86_400)
        func before(_ now: Timestamp) -> Timestamp? {
            guard case .log(let age) = settings.expired(at: now).first else { return nil }
            return age.before
        }
        let starts = Set((0..<180).compactMap { before(now + .seconds(60 * $0)) })
        #expect(starts.count == 4 || starts.count == 3)
        #expect(starts.allSatisfy { $0 <= now + .seconds(180 * 60) - .seconds(30 * 86_400) })
    }

    /// Time alone deletes what has expired, and nothing before that.
    @Test(arguments: StoreKind.allCases) func endedSessionIsDeletedWhenItsTimeIsOver(_ kind: StoreKind) async throws {
        var retention = RetentionSettings()
        retention.sessions = .seconds(3_600)
        let instances = try await Instances(kind, count: 2, retention: retention)
        let service = instances.services[0]
        let queue = try await instances.makeQueue(QueueConfiguration(releaseRatePerMinute: 0))
        var sessions: [SessionRecord] = []
        for _ in 0..<2 { sessions.append(try await service.join(queue, visitor: Visitor(), holder: .connection).session) }
        try await service.leave(queue, sessions[0].ticket)
        for _ in 0..<3 {
            instances.clock.advance(.seconds(61))
            _ = try await service.session(sessions[0].id)
        }
        #expect(
            try await eventually {
                instances.clock.advance(.seconds(3_700))
                return try await instances.store.session(sessions[0].id) == nil
            })
        #expect(try await service.session(sessions[1].id).status == .waiting)
    }

    /// The instance that closed a queue has not written the ends of all who waited: somebody does so later.
    @Test(arguments: StoreKind.allCases) func endsThatClosingHasLeftAreWritten(_ kind: StoreKind) async throws {
        var retention = RetentionSettings()
        retention.receipts = .seconds(3_600)
        let instances = try await Instances(kind, count: 1, retention: retention, store: FaultyStore.init)
        let (service, store) = (instances.services[0], instances.faultyStores[0])
        let queue = try await instances.makeQueue(QueueConfiguration(releaseRatePerMinute: 0))
        for _ in 0..<3 { _ = try await service.join(queue, visitor: Visitor(), holder: .connection) }
        store.before { call throws(StoreError) in if call == .endClosed { throw .unavailable("gone") } }
        _ = try await service.perform(.close, on: queue, tenant: instances.tenant)
        #expect(await eventually { store.count(.endClosed) == 1 })
        #expect(try await store.closingQueues(limit: 9) == [queue])
        // A queue that fails keeps nothing else from being deleted.
        let before = store.count(.deleteExpired)
        #expect(
            await eventually {
                instances.clock.advance(.seconds(20))
                return store.count(.endClosed) > 1 && store.count(.deleteExpired) > before
            })
        store.before { _ in }
        #expect(
            try await eventually {
                instances.clock.advance(.seconds(20))
                return try await store.closingQueues(limit: 9).isEmpty
            })
    }
}
