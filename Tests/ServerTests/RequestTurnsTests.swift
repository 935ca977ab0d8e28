import EventLoop
import Testing

@testable import Server

@Suite struct RequestTurnsTests {
    private struct Step {
        let who: Int
        let turn: UInt64
    }

    /// Who waits goes on in order, whoever has more to do behind the others, and a turn is no longer than it may be.
    @Test(.timeLimit(.minutes(1))) func whoWaitsGoesOnInOrder() async throws {
        let loop = try EventLoopGroup(count: 1).loops[0]
        let steps: [Step] = await withCheckedContinuation { done in
            loop.execute {
                let turns = RequestTurns(loop)
                var steps: [Step] = []
                func wait(_ who: Int, times: Int) {
                    turns.wait {
                        guard turns.hasStep(isLate: true) else { return wait(who, times: times) }
                        steps.append(Step(who: who, turn: loop.now))
                        if times > 1 { wait(who, times: times - 1) }
                        if steps.count == 300 { done.resume(returning: steps) }
                    }
                }
                for who in 0..<100 { wait(who, times: 3) }
            }
        }
        #expect(steps.map(\.who) == (0..<3).flatMap { _ in 0..<100 })
        let perTurn = Dictionary(grouping: steps, by: \.turn).values.map(\.count)
        #expect(perTurn.max() == 64)
        loop.stop()
    }
}
