import QueueEngine
import Testing
import TestSupport

@testable import QueueService

@Suite struct WakePlanTests {
    /// Against the plainest plan there is: a table that is searched whole.
    @Test func planAgreesWithATable() {
        var random = SeededRandom(seed: TestSeed.value)
        var plan = WakePlan()
        var table: [QueueID: Timestamp] = [:]
        for _ in 0..<20_000 {
            let queue = QueueID(high: 0, low: UInt64.random(in: 0..<50, using: &random))
            let moment = Timestamp(seconds: Double(Int.random(in: 0..<1_000, using: &random)))
            if random.chance(70) {
                let wanted = random.chance(80) ? moment : nil
                plan.plan(queue, at: wanted)
                table[queue] = wanted
            } else if random.chance(10) {
                let due = table.filter { $0.value <= moment }
                let taken = plan.takeDue(at: moment)
                #expect(Set(taken) == Set(due.keys))
                for id in due.keys { table[id] = nil }
            }
            let next = plan.next()
            #expect(next == table.values.min())
            #expect(plan.count == table.count)
        }
    }
}
