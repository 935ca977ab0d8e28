import Testing
import TestSupport

@testable import QueueService

@Suite struct TurnsTests {
    private actor Owner {
        private var turns = Turns<Int>()
        private(set) var asked: [Int] = []
        private(set) var passed: [Int] = []

        func pass(_ number: Int) async {
            asked.append(number)
            if !turns.take(7) { await withCheckedContinuation { turns.wait($0, for: 7) } }
            passed.append(number)
        }

        func end() { turns.end(7) }
    }

    /// The end of a turn resumes one waiter, the one who has waited longest.
    @Test func turnsAreTakenInTheOrderInWhichTheyWereAskedFor() async {
        let owner = Owner()
        await withTaskGroup(of: Void.self) { group in
            for number in 0..<100 {
                group.addTask { await owner.pass(number) }
                #expect(await eventually { await owner.asked.count == number + 1 })
            }
            for count in 1...100 {
                #expect(await eventually { await owner.passed.count == count })
                await owner.end()
            }
        }
        #expect(await owner.passed == Array(0..<100))
        // Nobody has it any more.
        await owner.pass(100)
        #expect(await owner.passed.last == 100)
    }
}
