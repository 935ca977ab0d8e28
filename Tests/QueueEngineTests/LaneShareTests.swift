import QueueEngine
import Testing
import TestSupport

/// A lane accrues its share only while somebody in it could be admitted.
@Suite struct LaneShareTests {
    private struct Line {
        var state = QueueState()
        var log: [QueueEvent] = []
        var now = Timestamp(seconds: 1_700_000_000)

        init(_ lanes: [PriorityLane]) {
            try! state.configure(
                QueueConfiguration(maxConcurrentUsers: 1_000_000, releaseRatePerMinute: 60, graceSeconds: 86_400, priorityLanes: lanes),
                at: now, &log)
        }

        mutating func join(_ lane: Int, _ count: Int) { for _ in 0..<count { _ = try! state.join(lane: lane, at: now, &log) } }

        /// Lets time pass until `count` more people are admitted; returns their lanes.
        mutating func admit(_ count: Int) -> [Int] {
            var lanes: [Int] = []
            while lanes.count < count, let wake = state.nextWake(after: now) {
                now = max(now, wake)
                var events: [QueueEvent] = []
                state.advance(to: now, &events)
                for event in events { if case .admitted(let ticket, _) = event.change { lanes.append(ticket.lane) } }
            }
            return lanes
        }
    }

    private let half = [PriorityLane(name: "vip", sharePercent: 50)]

    @Test func absentPersonSavesUpNoTurns() {
        var line = Line(half)
        line.join(1, 1)
        line.state.disconnect([Ticket(lane: 1, number: 1)], at: line.now, &line.log)
        line.join(0, 200)
        #expect(line.admit(200) == Array(repeating: 0, count: 200))
        line.join(1, 80)
        line.join(0, 40)
        #expect((28...32).contains(line.admit(60).count { $0 == 1 }))
    }

    @Test func laneThatComesBackHasNoClaimOnPassedTurns() {
        var line = Line(half)
        line.join(1, 50)
        let all = (1...50).map { Ticket(lane: 1, number: $0) }
        line.state.disconnect(all, at: line.now, &line.log)
        line.join(0, 300)
        _ = line.admit(200)
        line.state.connect(all, at: line.now, &line.log)
        #expect((28...32).contains(line.admit(60).count { $0 == 1 }))
    }

    @Test func strictLaneThatNeverEmptiesGivesNoCreditToASharedOne() {
        var line = Line([PriorityLane(name: "strict", sharePercent: 100), PriorityLane(name: "vip", sharePercent: 50)])
        line.join(1, 1)
        line.state.disconnect([Ticket(lane: 1, number: 1)], at: line.now, &line.log)
        line.join(0, 300)
        _ = line.admit(200)
        line.join(2, 80)
        #expect((28...32).contains(line.admit(60).count { $0 == 2 }))
    }

    @Test(arguments: [(100, 50), (10, 50), (50, 10)]) func changedShareHoldsFromThenOn(before: Int, after: Int) {
        var line = Line([PriorityLane(name: "vip", sharePercent: before)])
        line.join(0, 600)
        _ = line.admit(100)
        line.join(1, 600)
        _ = line.admit(100)
        var changed = line.state.configuration
        changed.priorityLanes[0].sharePercent = after
        try! line.state.configure(changed, at: line.now, &line.log)
        let lanes = line.admit(100)
        #expect(abs(lanes.count { $0 == 1 } - after) <= 2)
    }

    /// A lane that empties with each of its turns and fills again at once has its whole share all the same.
    @Test(arguments: [50, 75, 95]) func laneThatEmptiesAndFillsAgainKeepsItsShare(share: Int) {
        var line = Line([PriorityLane(name: "vip", sharePercent: share)])
        line.join(0, 300)
        var lanes: [Int] = []
        for _ in 0..<300 {
            if line.state.allWaiting.allSatisfy({ $0.lane == 0 }) { line.join(1, 1) }
            lanes += line.admit(1)
        }
        let counts = lanes.indices.dropLast(99).map { start in lanes[start..<start + 100].count { $0 == 1 } }
        #expect((counts.min() ?? 0) >= share - 2 && (counts.max() ?? 0) <= share + 2)
    }

    /// Whatever happens otherwise: over any hundred admissions with people present in both lanes, within two of the share.
    @Test func sharesHoldOverAnyHundredAdmissions() {
        var random = SeededRandom(seed: TestSeed.value)
        for share in [10, 25, 50, 75] {
            var line = Line([PriorityLane(name: "vip", sharePercent: share)])
            var lanes: [Int] = []
            for _ in 0..<400 {
                for lane in 0...1 { line.join(lane, 4) }
                let waiting = line.state.allWaiting
                let gone = (0..<3).map { _ in waiting.randomElement(using: &random)! }
                line.state.disconnect(gone, at: line.now, &line.log)
                if random.chance(50) { line.state.connect(gone, at: line.now, &line.log) }
                lanes += line.admit(2)
            }
            for start in lanes.indices where start + 100 <= lanes.count {
                let own = lanes[start..<start + 100].count { $0 == 1 }
                #expect(abs(own - share) <= 2, "seed \(TestSeed.value)")
            }
        }
    }
}
