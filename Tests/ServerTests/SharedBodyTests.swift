import Locks
import Testing

@testable import Server

@Suite struct SharedBodyTests {
    /// However many ask, it is made once for all who ask within a second, and anew for those who come later.
    @Test func bodyIsMadeOnceASecond() async throws {
        let made = Lock(0)
        let body = SharedBody {
            try? await Task.sleep(for: .milliseconds(100))
            return made.withLock { made in
                made += 1
                return [UInt8(made)]
            }
        }
        let (first, began) = (await SharedBodyTests.ask(body), ContinuousClock.now)
        #expect(Set(first) == [[1]] && first.count == 50)
        let second = await body.get()
        // On a machine that stands still for a second it may be another one.
        if ContinuousClock.now - began < .milliseconds(800) { #expect(second == [1]) }
        try await Task.sleep(for: .milliseconds(1_100))
        let later = await SharedBodyTests.ask(body)
        #expect(Set(later).count == 1 && later[0] != [1])
    }

    private static func ask(_ body: SharedBody) async -> [[UInt8]] {
        await withTaskGroup { group in
            for _ in 0..<50 { group.addTask { await body.get() } }
            return await group.reduce(into: []) { $0.append($1) }
        }
    }
}
