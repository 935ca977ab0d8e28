import Foundation
import Testing

@testable import Operations

/// What a plan says, from lines that are known.
@Suite struct CapacityTests {
    static let model = LoadModel(
        processors: .init(base: 0, each: 100e-6), residentBytes: .init(base: 50e6, each: 1_000), events: .init(base: 0, each: 0.01))

    static func plan(
        _ users: Double, growth: CapacityPlan.Growth = .init(users: 0), months: Double = 12, cores: Double = 2, memory: Double = 4e9,
        model: LoadModel = model
    ) -> CapacityPlan {
        CapacityPlan(
            users: users, growth: growth, months: months, model: model, machine: .init(cores: cores, memoryBytes: memory))
    }

    @Test func aLineGoesThroughWhatWasMeasured() {
        let two = LoadModel.Line(through: [(1_000, 0.3), (3_000, 0.7)], base: 0)
        #expect(abs(two.base - 0.1) < 1e-9 && abs(two.each - 0.0002) < 1e-12)
        let one = LoadModel.Line(through: [(1_000, 0.5)], base: 0.1)
        #expect(abs(one.base - 0.1) < 1e-9 && abs(one(2_000) - 0.9) < 1e-9)
        let noisy = (1...20).map { number in
            let users = Double(number) * 100
            return (users: users, value: 5 + users * (number % 2 == 0 ? 0.0101 : 0.0099))
        }
        let many = LoadModel.Line(through: noisy, base: 0)
        #expect(abs(many(1_500) - 20) < 0.3)
        let falling = LoadModel.Line(through: [(1_000, 2), (2_000, 1)], base: 0)
        #expect(falling.each == 0 && falling.base > 0, "more people never cost less")
    }

    @Test func machinesAreCountedByWhatRunsOutFirst() {
        // 10,000 people: one processor of 2 × 0.7, and one instance to spare.
        let one = CapacityTests.plan(10_000)
        #expect(one.rows[0].instances == 2 && one.rows[0].limit == .processors && one.monthsUntilThen == nil)
        // Three do the work of 40,000, and one is to spare.
        #expect(CapacityTests.plan(40_000).rows[0].instances == 4)
        let little = CapacityTests.plan(40_000, cores: 64, memory: 0.1e9)
        #expect(little.rows[0].limit == .memory && little.rows[0].instances == 3)
        let connections = CapacityTests.plan(120_000, cores: 64, memory: 100e9)
        #expect(connections.rows[0].limit == .connections && connections.rows[0].instances == 4)
        #expect(CapacityTests.plan(1_000, memory: 0.01e9).rows[0].instances == 1_000_000, "a server that does not fit is no small number")
    }

    @Test func peopleBecomeMoreEachMonth() {
        let plan = CapacityTests.plan(10_000, growth: .init(users: 20))
        #expect(plan.rows.map(\.month) == [0, 6, 12])
        #expect(plan.rows.map(\.users) == [10_000, 29_860, 89_161])
        // From one processor to the 1.4 that may be used: log 1.4 ÷ log 1.2.
        #expect(plan.firstToRunOut == .processors && abs(plan.monthsUntilThen! - log(1.4) / log(1.2)) < 1e-9)
        #expect(plan.rows[2].instances == 8)
        #expect(plan.table.contains("run out first, in 1.8 months") && plan.chart.contains("<polyline"))
        #expect(
            CapacityTests.plan(40_000, growth: .init(users: 20)).monthsUntilThen! > 0,
            "the spare one does not count, and the others suffice")
    }

    /// The rates of the plan that was asked for: what each of them drives grows by it.
    @Test func peopleRequestsAndDataGrowByRatesOfTheirOwn() {
        var model = CapacityTests.model
        model.network = .init(base: 0, each: 100)
        model.requests = .init(base: 0, each: 1)
        let rows = CapacityTests.plan(10_000, growth: .init(users: 20, requests: 25, data: 15), model: model).rows
        func factor(_ value: (CapacityPlan.Row) -> Double) -> Double { value(rows[2]) / value(rows[0]) }
        #expect(abs(factor(\.users) - pow(1.2, 12)) < 0.001)
        for value: (CapacityPlan.Row) -> Double in [
            \.requestsPerMinute, \.processors, \.networkBytesPerSecond, \.eventsPerSecond, \.databaseProcessors,
        ] {
            #expect(abs(factor(value) - pow(1.25, 12)) < 1e-6)
        }
        #expect(abs(factor(\.storageBytesPerMonth) - pow(1.15, 12)) < 1e-6)
        for row in rows {
            #expect(row.redisConnections == 2 * row.instances && row.databaseConnections >= 5 * row.instances)
            #expect(row.redisBytes > 2e6 && row.redisBytes <= 256e6)
        }
    }

    @Test func networkAndSlowResponsesAskForMachines() {
        var model = CapacityTests.model
        model.network = .init(base: 0, each: 1_000)
        let network = CapacityPlan(
            users: 10_000, growth: .init(users: 0), months: 12, model: model,
            machine: .init(cores: 64, memoryBytes: 64e9, networkBytesPerSecond: 10e6))
        // 10 MB a second, of which 60 % may be used: two, and one to spare.
        #expect(network.rows[0].limit == .network && network.rows[0].instances == 3)
        model.slowFrom = 2_500
        let slow = CapacityTests.plan(10_000, cores: 64, model: model)
        #expect(slow.rows[0].limit == .responses && slow.rows[0].instances == 5)
    }

    @Test func aReportMustSayWhatTheServerUsed() throws {
        func report(_ users: Int, cores: Double?, ramp: Double = 1) -> LoadReport {
            LoadReport(
                scenario: LoadTestTests.scenario(ramp: ramp), operations: [],
                seconds: (1...10).map {
                    .init(second: Double($0), users: users, frames: 0, operations: 0, errors: 0, p50: 0, p95: 0, p99: 0)
                },
                mostUsers: users, admitted: 0, server: cores.map { .init(cores: $0, mostResidentBytes: 50e6) }, eventsFollowed: 100,
                eventsMissing: 0, isInterrupted: false)
        }
        let model = try LoadModel([report(1_000, cores: 0.1), report(2_000, cores: 0.2)])
        #expect(abs(model.processors(5_000) - 0.5) < 1e-9 && abs(model.events(1_500) - 10) < 1e-9)
        #expect(throws: LoadModel.Unusable.self) { try LoadModel([report(1_000, cores: nil)]) }
        #expect(throws: LoadModel.Unusable.self) { try LoadModel([report(1_000, cores: 1, ramp: 20)]) }
    }
}
