import QueueService
import Testing

@testable import Server

@Suite struct DrainPlanTests {
    private func capacity(_ arrivals: Int, room: Int = 100_000) -> Capacity { Capacity(room: room, arrivalsPerSecond: arrivals) }

    @Test func theWeakestOfThoseWithRoomSetsThePace() {
        func seconds(_ others: [Capacity]) -> Double { DrainPlan(visitors: 10_000, others: others, longest: 10).seconds }
        #expect(seconds([capacity(2_000), capacity(1_000)]) == 5)
        #expect(seconds([capacity(2_000), capacity(1_000, room: 0)]) == 5)
        #expect(seconds([capacity(20), capacity(1_000)]) == 10)
        #expect(seconds([]) == 10)
        #expect(seconds([capacity(2_000, room: 0)]) == 10)
    }

    @Test func everyoneHasAMomentOfTheirOwnInTurn() {
        let plan = DrainPlan(visitors: 100, others: [capacity(20)], longest: 10)
        let moments = (0..<100).map { plan.moment(of: $0, among: 100, random: 0.5) }
        #expect(zip(moments, moments.dropFirst()).allSatisfy { abs($1 - $0 - 0.05) < 1e-9 })
        #expect(moments.first! >= 0.5 && moments.last! <= 5.5)
        #expect(plan.moment(of: 0, among: 0, random: 1) == 5.5)
    }
}
