import Locks
import QueueService
import Testing

@testable import Storage

/// Lists of sessions take turns.
@Suite struct ReadGateTests {
    /// How many are inside, and were at most.
    private final class Inside: Sendable {
        private let count = Lock((now: 0, most: 0))
        var most: Int { count.withLock { $0.most } }

        func enter() {
            count.withLock { count in
                count.now += 1
                count.most = max(count.most, count.now)
            }
        }

        func leave() { count.withLock { $0.now -= 1 } }
    }

    /// One of SQLite's four readers is left for single rows, however many lists are read.
    @Test func noMorePassAtOnceThanTheLimit() async throws {
        let gate = ReadGate(limit: 3, maximumWaiting: 100, waitSeconds: 600)
        let inside = Inside()
        try await withThrowingTaskGroup { group in
            for _ in 0..<20 {
                group.addTask {
                    try await gate.pass { () throws(StoreError) in
                        inside.enter()
                        try? await Task.sleep(for: .milliseconds(5))
                        inside.leave()
                    }
                }
            }
            try await group.waitForAll()
        }
        #expect(inside.most == 3)
    }

    /// Where several wait the turn of each stays empty for as long as it took.
    @Test func waitingListsArePausedBetween() async throws {
        let gate = ReadGate(limit: 1, maximumWaiting: 100, waitSeconds: 600)
        let began = ContinuousClock.now
        try await withThrowingTaskGroup { group in
            for _ in 0..<5 {
                group.addTask { try await gate.pass { () throws(StoreError) in try? await Task.sleep(for: .milliseconds(40)) } }
            }
            try await group.waitForAll()
        }
        // Five turns, and a pause behind all but the last.
        #expect(ContinuousClock.now - began >= .milliseconds(5 * 40 + 4 * 40))
    }

    @Test func listIsRefusedWhereTooManyWait() async throws {
        let gate = ReadGate(limit: 1, maximumWaiting: 0, waitSeconds: 600)
        let refused = try await gate.pass { () throws(StoreError) -> StoreError? in
            do throws(StoreError) { try await gate.pass {} } catch { return error }
            return nil
        }
        #expect(refused == .busy("too many lists are being read"))
        try await gate.pass {}
    }
}
