import Locks
import Testing

@testable import Server

@Suite struct SharedBodyTests {
    /// However many ask, it is made once for all who ask within a second, and anew for those who come later.
    @Test func bodyIsMadeOnceASecond() async throws {
        let now = Lock<UInt64>(5_000_000_000)
        let made = Lock(0)
        let body = SharedBody(clock: { now.withLock { $0 } }) {
            // Others ask meanwhile.
            for _ in 0..<100 { await Task.yield() }
            return made.withLock { made in
                made += 1
                return [UInt8(made)]
            }
        }
        let first = await SharedBodyTests.ask(body)
        #expect(first == Array(repeating: [1], count: 50))
        now.withLock { $0 += 999_999_999 }
        #expect(await body.get() == [1])
        now.withLock { $0 += 1 }
        let later = await SharedBodyTests.ask(body)
        #expect(later == Array(repeating: [2], count: 50))
    }

    private static func ask(_ body: SharedBody) async -> [[UInt8]] {
        await withTaskGroup { group in
            for _ in 0..<50 { group.addTask { await body.get() } }
            return await group.reduce(into: []) { $0.append($1) }
        }
    }
}
