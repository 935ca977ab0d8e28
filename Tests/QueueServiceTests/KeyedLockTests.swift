import Testing
import TestSupport

@testable import QueueService

@Suite struct KeyedLockTests {
    private actor Owner {
        private var lock = KeyedLock<Int>()
        private(set) var asked: [Int] = []
        private(set) var holders: [Int] = []

        func acquire(_ number: Int) async {
            asked.append(number)
            if !lock.tryAcquire(7) { await withCheckedContinuation { lock.wait($0, for: 7) } }
            holders.append(number)
        }

        func release() { lock.release(7) }
    }

    /// A release resumes one waiter, the one who has waited longest.
    @Test func tasksHoldTheLockInTheOrderInWhichTheyAsked() async {
        let owner = Owner()
        await withTaskGroup(of: Void.self) { group in
            for number in 0..<100 {
                group.addTask { await owner.acquire(number) }
                #expect(await eventually { await owner.asked.count == number + 1 })
            }
            for count in 1...100 {
                #expect(await eventually { await owner.holders.count == count })
                await owner.release()
            }
        }
        #expect(await owner.holders == Array(0..<100))
        // Nobody holds it any more.
        await owner.acquire(100)
        #expect(await owner.holders.last == 100)
    }
}
