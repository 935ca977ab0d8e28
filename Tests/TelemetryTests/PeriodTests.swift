import Foundation
import Metrics
import Testing

@testable import Telemetry

@Suite struct PeriodTests {
    private let registry = PrometheusRegistry()

    private func distribution(_ seconds: [Double]) -> Distribution {
        let timer = registry.timer("t_seconds", "", .latencies, [("n", "\(seconds.hashValue)")])
        let before = registry.distribution(of: "t_seconds")
        for one in seconds { timer.recordNanoseconds(Int64(one * 1e9)) }
        return registry.distribution(of: "t_seconds") - before
    }

    private func counts(requests: [Double] = [], failed: Int64 = 0, processor: Double = 0, machine: Double = 20) -> Counts {
        var counts = Counts()
        counts.requests = distribution(requests)
        counts.failedRequests = failed
        (counts.processorSeconds, counts.machineSeconds) = (processor, machine)
        return counts
    }

    private func levels(visitors: Double = 0, waiting: Double = 0) -> Levels {
        var levels = Levels()
        (levels.connections, levels.waiting, levels.queues) = (visitors, waiting, 1)
        return levels
    }

    @Test func partsOfADistribution() throws {
        let all = distribution(Array(repeating: 0.0007, count: 90) + Array(repeating: 0.7, count: 10))
        // 90 lie between 0.5 and 1 ms, 10 between 0.5 and 1 s.
        #expect(try abs(#require(all.quantile(0.45)) - 0.00075) < 1e-9)
        #expect(try abs(#require(all.quantile(0.95)) - 0.75) < 1e-9)
        #expect(all.share(above: 0.5) == 0.1)
        #expect(try abs(#require(all.mean) - 0.07063) < 1e-9)
        let longer = distribution([60])
        #expect(longer.quantile(0.5) == 10)
        #expect((all + longer - all).total == 1)
        let nothing = Distribution()
        #expect(nothing.quantile(0.5) == nil && nothing.mean == nil && nothing.share(above: 0.5) == nil)
    }

    /// Means are by time, and of several instances the queues are the same but the visitors are not.
    @Test func periodsAreAdded() throws {
        let short = Period(seconds: 10, counts: counts(requests: [0.001], processor: 2), levels: levels(visitors: 100, waiting: 10))
        let long = Period(seconds: 30, counts: counts(failed: 1, processor: 6, machine: 60), levels: levels(visitors: 200, waiting: 50))
        let both = short.followed(by: long)
        #expect((both.seconds, both.mean.connections, both.mean.waiting) == (40, 175, 40))
        #expect((both.most.connections, both.most.waiting) == (200, 50))
        #expect((both.counts.requests.total, both.counts.failedRequests, both.processorShare) == (1, 1, 0.1))
        let beside = try #require(Period.together([both, both], over: 40))
        #expect((beside.seconds, beside.mean.connections, beside.mean.waiting, beside.processorShare) == (40, 350, 40, 0.1))
        let after = try #require(Period.together([both, both], over: 80))
        #expect((after.mean.connections, after.mean.waiting) == (175, 40))
        #expect(Period.together([], over: 40) == nil)
    }

    @Test func windowsOfTheLastHour() throws {
        var history = History(elapsed: 0)
        #expect(history.last(seconds: 60) == nil)
        var all = Counts()
        for step in 1...400 {
            all.joins += Int64(step)
            history.note(all, levels(visitors: Double(step)), elapsed: Double(10 * step), now: 7_200 + Double(10 * step))
        }
        let minute = try #require(history.last(seconds: 60))
        #expect((minute.seconds, minute.counts.joins, minute.most.connections) == (60, 395 + 396 + 397 + 398 + 399 + 400, 400))
        #expect(try #require(history.last(seconds: 3_600)).seconds == 3_600)
        let parts = history.parts(seconds: 3_600, count: 60)
        #expect(parts.count == 60 && parts.allSatisfy { $0.period.seconds == 60 } && parts.last?.end == 11_200)
        #expect(parts.last?.period == minute)
        #expect(history.parts(seconds: 60, count: 100).count == 6)
    }

    /// What the store is not told of while it is away it is told later, and nothing twice or not at all.
    @Test func hoursForTheStore() {
        var history = History(elapsed: 0)
        var all = Counts()
        func note(_ hour: Double) {
            all.joins += 1
            history.note(all, Levels(), elapsed: Double(10 * all.joins), now: 3_600 * hour)
        }
        note(1)
        note(1.5)
        let told = history.unstored
        #expect(told.map(\.number) == [1] && told[0].period.counts.joins == 2)
        history.stored(told)
        // The present hour goes on, and is told again as it is then.
        note(1.6)
        note(2)
        #expect(history.unstored.map(\.number) == [1, 2] && history.unstored[0].period.counts.joins == 3)
        let meanwhile = history.unstored
        note(3)
        history.stored(meanwhile)
        // The second hour was told as it was before it ended: it has not changed since.
        #expect(history.unstored.map(\.number) == [3])
        for hour in 4..<100 { note(Double(hour)) }
        #expect(history.unstored.count == 48 && history.unstored.last?.number == 99)
    }

    @Test func theLongestIsSeenByEverybody() {
        var longest = Longest()
        longest.note(3)
        longest.note(1)
        #expect(longest.value == 3 && longest.value == 3)
        longest.step()
        longest.step()
        longest.note(2)
        #expect(longest.value == 3)
        longest.step()
        #expect(longest.value == 2)
    }
}

@Suite struct KPITests {
    private func kpi(_ name: String) throws -> KPI { try #require(KPI.all.first { "\($0.group).\($0.name)" == name }) }

    private func state(_ name: String, _ change: (inout Counts, inout Levels) -> Void) throws -> KPI.State {
        var (counts, levels) = (Counts(), Levels())
        change(&counts, &levels)
        return try kpi(name).look(at: Period(seconds: 60, counts: counts, levels: levels)).state
    }

    @Test func nothingIsNotOK() {
        for kpi in KPI.all {
            #expect(kpi.look(at: nil) == (nil, .noData))
            #expect(kpi.look(at: Period(seconds: 60, counts: Counts(), levels: Levels())).state == .noData, "\(kpi.name)")
        }
        #expect(ErrorBudget(requests: 0, failed: 0).state == .noData)
    }

    /// On both sides of each limit.
    @Test(arguments: [
        ("api.error_rate", 1_000, 4, KPI.State.ok), ("api.error_rate", 1_000, 6, .warning), ("api.error_rate", 1_000, 11, .critical),
    ]) func errors(_ name: String, _ all: Int, _ failed: Int, _ expected: KPI.State) throws {
        let registry = PrometheusRegistry()
        let timer = registry.timer("t_seconds", "")
        for _ in 0..<all { timer.recordNanoseconds(1) }
        let found = try state(name) { counts, _ in
            counts.requests = registry.distribution(of: "t_seconds")
            counts.failedRequests = Int64(failed)
        }
        #expect(found == expected)
    }

    @Test(arguments: [
        ("system.cpu_utilization", 0.69, KPI.State.ok), ("system.cpu_utilization", 0.71, .warning),
        ("system.cpu_utilization", 0.81, .critical),
        ("system.network_utilization", 0.59, .ok), ("system.network_utilization", 0.61, .warning),
        ("system.network_utilization", 0.81, .critical),
        ("system.memory_utilization", 0.74, .ok), ("system.memory_utilization", 0.76, .warning),
        ("system.memory_utilization", 0.86, .critical),
        ("system.disk_utilization", 0.84, .ok), ("system.disk_utilization", 0.86, .warning), ("system.disk_utilization", 0.96, .critical),
        ("database.connection_pool_utilization", 0.79, .ok), ("database.connection_pool_utilization", 0.81, .warning),
        ("database.connection_pool_utilization", 0.96, .critical),
        ("queue.queue_length_avg", 99, .ok), ("queue.queue_length_avg", 1_000_000, .warning),
        ("queue.error_rate", 0.004, .ok), ("queue.error_rate", 0.006, .warning), ("queue.error_rate", 0.06, .critical),
    ]) func shares(_ name: String, _ value: Double, _ expected: KPI.State) throws {
        let found = try state(name) { counts, levels in
            (counts.processorSeconds, counts.machineSeconds) = (value * 120, 120)
            (counts.networkBytes, counts.networkRoom) = (value * 1e9, 1e9)
            (counts.failedCommands, counts.commands) = (Int64(value * 1_000), 1_000)
            (levels.memory, levels.disk, levels.pool, levels.waiting, levels.queues) = (value, value, value, value, 1)
        }
        #expect(found == expected)
    }

    @Test(arguments: [
        ("api.response_time_p95", 1.0, KPI.State.ok), ("api.response_time_p95", 2.0, .warning), ("api.response_time_p95", 2.4, .critical),
        ("database.query_time_p95", 0.2, .ok), ("database.query_time_p95", 0.5, .warning), ("database.query_time_p95", 0.9, .critical),
        ("database.slow_query_rate", 0.5, .ok), ("database.slow_query_rate", 0.6, .critical),
        ("queue.processing_time_avg", 14, .ok), ("queue.processing_time_avg", 16, .warning), ("queue.processing_time_avg", 31, .critical),
    ]) func durations(_ name: String, _ seconds: Double, _ expected: KPI.State) throws {
        let registry = PrometheusRegistry()
        let timer = registry.timer("t_seconds", "")
        for _ in 0..<1_000 { timer.recordNanoseconds(Int64(seconds * 1e9)) }
        let found = try state(name) { counts, _ in
            let distribution = registry.distribution(of: "t_seconds")
            (counts.requests, counts.statements, counts.releases) = (distribution, distribution, distribution)
        }
        #expect(found == expected)
    }

    /// Late releases and the way to the visitor together; who never asks again does not hide that a release was late.
    @Test func processingTimeIsFromTheReleaseDueToTheVisitorTold() throws {
        let registry = PrometheusRegistry()
        func distribution(_ name: String, _ seconds: [Double]) -> Distribution {
            let timer = registry.timer(name, "")
            for one in seconds { timer.recordNanoseconds(Int64(one * 1e9)) }
            return registry.distribution(of: name)
        }
        var counts = Counts()
        counts.releases = distribution("releases_seconds", [26, 25, 27])
        let processing = try kpi("queue.processing_time_avg")
        #expect(processing.look(at: Period(seconds: 60, counts: counts, levels: Levels())) == (26, .warning))
        counts.admissions = distribution("told_seconds", [5])
        #expect(processing.look(at: Period(seconds: 60, counts: counts, levels: Levels())) == (31, .critical))
    }

    /// An hour in which the pool was exhausted once is no quiet hour.
    @Test func poolShowsItsBusiestMoment() throws {
        var (quiet, exhausted) = (Levels(), Levels())
        (quiet.pool, exhausted.pool) = (0.01, 1)
        var hour = Period(seconds: 10, counts: Counts(), levels: exhausted)
        for _ in 0..<359 { hour = hour.followed(by: Period(seconds: 10, counts: Counts(), levels: quiet)) }
        #expect(try kpi("database.connection_pool_utilization").look(at: hour) == (1, .critical))
    }

    /// What a store of an older version holds lacks what was not counted then.
    @Test func hoursOfOlderVersionsAreRead() throws {
        var counts = Counts()
        counts.joins = 7
        var members = try #require(
            JSONSerialization.jsonObject(with: JSONEncoder().encode(Period(seconds: 60, counts: counts, levels: Levels())))
                as? [String: Any])
        var old = try #require(members["counts"] as? [String: Any])
        let releases = old.removeValue(forKey: "releases")
        #expect(releases != nil)
        members["counts"] = old
        let read = try JSONDecoder().decode(Period.self, from: JSONSerialization.data(withJSONObject: members))
        #expect(read.counts.joins == 7 && read.counts.releases.total == 0)
    }

    /// Few requests are no fault, unless the machine gives no more.
    @Test(arguments: [(0.5, KPI.State.ok), (0.85, .warning), (0.97, .critical)]) func tooFew(_ busy: Double, _ expected: KPI.State) throws {
        let found = try state("queue.throughput_per_minute") { counts, _ in
            counts.joins = 10
            (counts.processorSeconds, counts.machineSeconds) = (busy, 1)
        }
        #expect(found == expected)
    }

    @Test func theBudget() throws {
        let half = ErrorBudget(requests: 1_000_000, failed: 500)
        #expect(try abs(#require(half.left) - 0.5) < 1e-9 && half.state == .ok)
        #expect(ErrorBudget(requests: 1_000_000, failed: 800).state == .warning)
        #expect(ErrorBudget(requests: 1_000_000, failed: 1_001).state == .critical)
    }
}
