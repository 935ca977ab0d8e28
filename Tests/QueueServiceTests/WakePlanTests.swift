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

    /// However much comes before a far deadline, the clock holds one request for it.
    @Test func farDeadlineIsAskedForOnce() {
        var plan = WakePlan()
        let (far, near) = (QueueID(high: 0, low: 1), QueueID(high: 0, low: 2))
        let deadline = Timestamp(seconds: 1_000_000)
        plan.plan(far, at: deadline)
        var asked: [Timestamp] = []
        for second in 1...1_000 {
            let (now, moment) = (Timestamp(seconds: Double(second)), Timestamp(seconds: Double(second) + 0.5))
            plan.plan(near, at: moment)
            if let next = plan.nextAlarm(at: now) { asked.append(next) }
            plan.alarmFired(moment)
            #expect(plan.takeDue(at: moment) == [near])
            if let next = plan.nextAlarm(at: moment) { asked.append(next) }
        }
        #expect(asked.count { $0 == deadline } == 1)
        #expect(asked.count == 1_001)
    }

    @Test func clockIsAskedForWhatIsEarlierThanAllItWasAskedFor() {
        var plan = WakePlan()
        let start = Timestamp(seconds: 0)
        for (number, seconds) in [50, 40, 45, 30].enumerated() {
            plan.plan(QueueID(high: 0, low: UInt64(number)), at: Timestamp(seconds: Double(seconds)))
            #expect(plan.nextAlarm(at: start) == (seconds == 45 ? nil : Timestamp(seconds: Double(seconds))))
        }
        plan.alarmFired(Timestamp(seconds: 30))
        #expect(plan.takeDue(at: Timestamp(seconds: 30)).count == 1)
        // 40 was asked for; 45 is asked for once that has come.
        #expect(plan.nextAlarm(at: Timestamp(seconds: 30)) == nil)
        plan.alarmFired(Timestamp(seconds: 40))
        #expect(plan.takeDue(at: Timestamp(seconds: 40)).count == 1)
        #expect(plan.nextAlarm(at: Timestamp(seconds: 40)) == Timestamp(seconds: 45))
    }
}
