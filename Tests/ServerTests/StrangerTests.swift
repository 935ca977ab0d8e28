import Locks
import QueueEngine
import QueueService
import Testing

@testable import Server

/// A request that names nothing real leaves nothing behind.
@Suite struct StrangerTests {
    @Test func limitsOfQueuesThatNobodyJoinsAreForgotten() {
        var settings = LimitSettings()
        settings.joinsPerQueue = Rate(perSecond: 1_000_000, burst: 10)
        let limits = AddressLimits(settings)
        for number in 0..<100_000 as Range<UInt64> {
            _ = limits.join(AddressGroup(rawValue: 1), QueueID(high: number, low: 0))
        }
        #expect(limits.queueCount < 10_000 && limits.addressCount == 1)
    }

    @Test func addressThatIsRefusedTakesNothingFromTheQueue() {
        var settings = LimitSettings()
        settings.joinsPerAddress = Rate(perSecond: 0.001, burst: 2)
        settings.joinsPerQueue = Rate(perSecond: 0.001, burst: 4)
        let limits = AddressLimits(settings)
        let queue = QueueID(high: 1, low: 1)
        let greedy = (0..<50).map { _ in limits.join(AddressGroup(rawValue: 1), queue) }
        #expect(greedy.count { $0 == .granted } == 2)
        let others = (2..<6).map { limits.join(AddressGroup(rawValue: $0), queue) }
        #expect(others.count { $0 == .granted } == 2)
    }

    private func record(_ number: UInt64, _ status: SessionStatus) -> SessionRecord {
        SessionRecord(
            id: SessionID(high: number, low: 0), tenant: TenantID(high: 1, low: 1), queue: QueueID(high: 1, low: 1),
            ticket: Ticket(lane: 0, number: 1), visitor: Visitor(), status: status, createdAt: Timestamp(seconds: 1))
    }

    @Test func pollsOfEndedSessionAskTheStoreOnce() async throws {
        let asked = Lock(0)
        let ended = EndedSessions(capacity: 10) { [record = record(1, .completed)] id throws(ServiceError) in
            asked.withLock { $0 += 1 }
            return record
        }
        try await withThrowingTaskGroup { group in
            for _ in 0..<1_000 { group.addTask { try await ended.end(of: SessionID(high: 1, low: 0), epoch: 1) } }
            for try await found in group { #expect(found.status == .completed) }
        }
        for _ in 0..<100 { _ = try await ended.end(of: SessionID(high: 1, low: 0), epoch: 1) }
        #expect(asked.withLock { $0 } == 1)
        _ = try await ended.end(of: SessionID(high: 1, low: 0), epoch: 2)
        #expect(asked.withLock { $0 } == 2)
    }

    /// A token outlives the row of its session, which retention deletes.
    @Test func pollsOfADeletedSessionAskTheStoreOnce() async throws {
        let asked = Lock(0)
        let ended = EndedSessions(capacity: 2) { _ throws(ServiceError) in
            throw asked.withLock { asked in
                asked += 1
                return asked == 1 ? .unavailable(retryAfterSeconds: 1) : .noSuchSession
            }
        }
        func poll(_ number: UInt64) async -> ServiceError? {
            do throws(ServiceError) { _ = try await ended.end(of: SessionID(high: number, low: 0), epoch: 1) } catch { return error }
            return nil
        }
        #expect(await poll(1) == .unavailable(retryAfterSeconds: 1))
        for _ in 0..<100 { #expect(await poll(1) == .noSuchSession) }
        #expect(asked.withLock { $0 } == 2)
        for number in 2..<10 as Range<UInt64> { #expect(await poll(number) == .noSuchSession) }
        #expect(ended.count == 2)
    }

    @Test func endedSessionsAreRememberedInBoundedNumberAndLiveOnesNotAtAll() async throws {
        let ended = EndedSessions(capacity: 10) { id throws(ServiceError) in
            SessionRecord(
                id: id, tenant: TenantID(high: 1, low: 1), queue: QueueID(high: 1, low: 1), ticket: Ticket(lane: 0, number: 1),
                visitor: Visitor(), status: id.high < 5 ? .waiting : .left, createdAt: Timestamp(seconds: 1))
        }
        for number in 0..<5 as Range<UInt64> { _ = try await ended.end(of: SessionID(high: number, low: 0), epoch: 1) }
        #expect(ended.count == 0)
        for number in 5..<1_000 as Range<UInt64> { _ = try await ended.end(of: SessionID(high: number, low: 0), epoch: 1) }
        #expect(ended.count == 10)
    }
}
