import Foundation
import TestSupport
import Testing

@testable import Operations

/// What a load test plans, and what it makes of what it measured. Against a server it is run by `loadtest.py`.
@Suite struct LoadTestTests {
    static func scenario(users: Double = 100, ramp: Double = 10, duration: Double = 60) -> Scenario {
        var scenario = Scenario(name: "test")
        for member in Scenario.members { scenario[keyPath: member.path] = max(1, member.range.lowerBound) }
        scenario.users = users
        scenario.rampSeconds = ramp
        scenario.durationSeconds = duration
        scenario.staySeconds = 20
        return scenario
    }

    @Test func randomMomentsComeAsOftenAsTheyShould() {
        var random = SeededRandom(seed: TestSeed.value)
        for rate in [0.1, 2, 50] {
            var moments = RandomMoments(perSecond: { _ in rate })
            var count = 0
            while moments.seconds < 2_000 { if moments.advance(&random) { count += 1 } }
            let expected = rate * 2_000
            // Five standard deviations of a Poisson distribution.
            #expect(abs(Double(count) - expected) < 5 * expected.squareRoot(), "\(count) at \(rate) a second")
        }
        var never = RandomMoments(perSecond: { _ in 0 })
        for _ in 0..<100 {
            let happens = never.advance(&random)
            #expect(!happens)
        }
        #expect(never.seconds == 100)
    }

    /// Each who comes stays for a random time: then there are as many as the scenario says, in the ramp and after it.
    @Test func thereAreAsManyPeopleAsAScenarioSays() {
        var random = SeededRandom(seed: TestSeed.value)
        let scenario = LoadTestTests.scenario(users: 5_000, ramp: 30)
        var moments = RandomMoments(perSecond: scenario.arrivalsPerSecond)
        var stays: [(from: Double, to: Double)] = []
        while moments.seconds < 60 {
            guard moments.advance(&random) else { continue }
            stays.append((moments.seconds, moments.seconds + RandomMoments.exponential(mean: scenario.staySeconds, &random)))
        }
        for (second, expected) in [(15.0, 2_500.0), (30, 5_000), (55, 5_000)] {
            let there = stays.count { $0.from <= second && $0.to > second }
            #expect(abs(Double(there) - expected) < 5 * expected.squareRoot(), "\(there) after \(second) s")
        }
    }

    @Test func aScenarioIsScaledAndChecked() {
        let scenario = LoadTestTests.scenario()
        #expect(scenario.fault == nil)
        let small = scenario.scaled(users: 0.1, time: 0.5)
        #expect(small.users == 10 && small.durationSeconds == 30 && small.rampSeconds == 5 && small.staySeconds == 20)
        #expect(scenario.scaled(users: 0.0001, time: 1).users == 1)
        for member in Scenario.members {
            var wrong = scenario
            wrong[keyPath: member.path] = member.range.upperBound + 1
            #expect(wrong.fault?.contains(member.name) == true)
            wrong[keyPath: member.path] = .nan
            #expect(wrong.fault?.contains(member.name) == true)
        }
        #expect(LoadTestTests.scenario(ramp: 61, duration: 60).fault?.contains("longer") == true)
    }

    static func report(_ fill: (inout Tally) -> Void, missing: Int = 0) -> LoadReport {
        var tally = Tally()
        fill(&tally)
        tally.endSecond(at: 1, users: 3, frames: 4)
        return LoadReport(
            scenario: scenario(), operations: tally.operations, seconds: tally.seconds, mostUsers: 3, admitted: 1,
            server: .init(cores: 0.5, mostResidentBytes: 1e8), eventsFollowed: 9, eventsMissing: missing, isInterrupted: false)
    }

    @Test func aReportSaysWhatWasMeasured() throws {
        let report = LoadTestTests.report { tally in
            for millisecond in 1...1_000 { tally.note(.read, nanoseconds: UInt64(millisecond) * 1_000_000) }
            tally.note(.join, nanoseconds: 400_000_000_000)
            tally.fail(.join, "status <503>")
        }
        let read = try #require(report.operations.first { $0.name == "read of a queue" })
        // Three digits are exact.
        #expect(read.count == 1_000 && abs(read.p50 - 0.5) < 0.001 && abs(read.p95 - 0.95) < 0.001 && abs(read.p99 - 0.99) < 0.001)
        let join = try #require(report.operations.first { $0.name == "join over REST" })
        #expect(join.errors == ["status <503>": 1] && join.highest >= 120, "what takes longer than two minutes counts as that")
        #expect(report.seconds.count == 1 && report.seconds[0].operations == 1_001 && report.seconds[0].errors == 1)
        #expect(abs(report.errorPercent - 100.0 / 1_002) < 1e-9)
        #expect(!report.isMet && report.verdicts[0].measured >= 120)
        #expect(report.html.contains("status &lt;503&gt;") && !report.html.contains("<503>"))
        struct Whole: Decodable { let report: LoadReport }
        #expect(try JSONDecoder().decode(Whole.self, from: try report.json()).report == report)
    }

    @Test func whatWasNotDoneWasNotShown() throws {
        #expect(!LoadTestTests.report { _ in }.isMet)
        _ = try LoadTestTests.report { _ in }.json()
        let good = LoadTestTests.report({ $0.note(.read, nanoseconds: 1_000) })
        #expect(good.isMet)
        #expect(!LoadTestTests.report({ $0.note(.read, nanoseconds: 1_000) }, missing: 1).isMet)
    }

    @Test func anEventThatNeverComesIsMissed() {
        var events = FollowedEvents()
        let long = String(repeating: "x", count: 500)
        for part in ["HTTP/1.1 200 OK\r\n\r\nid: 4\ndata: {}\n\n:\ni", "d: 5\ndata: \(long)\n\n", "id: 8\n", "data: id: 9\n\nid: 9\n"] {
            events.receive(part.utf8)
        }
        #expect(events.count == 4 && events.missing == 2)
        events.receive("id: 9\n".utf8)
        #expect(events.missing == 3, "what comes twice is wrong, too")
    }

    @Test func theServersOwnFiguresAreRead() {
        let text = "# TYPE process_cpu_seconds_total counter\nprocess_cpu_seconds_total 1.5\nprocess_resident_memory_bytes 2e7\n"
        let use = ServerUse(metrics: Array(text.utf8), at: 3_000_000_000)
        #expect(use?.cpuSeconds == 1.5 && use?.residentBytes == 2e7 && use?.at == 3)
        #expect(ServerUse(metrics: Array("other 1\n".utf8), at: 0) == nil)
    }

    @Test func stringsAreFoundInJSON() {
        let bytes = Array(#"{"session":"a","token": "st1.x","bad":"a\"b","n":1}"#.utf8)
        #expect(JSONText.string("session", in: bytes) == "a" && JSONText.string("token", in: bytes) == "st1.x")
        #expect(
            JSONText.string("bad", in: bytes) == nil && JSONText.string("n", in: bytes) == nil && JSONText.string("x", in: bytes) == nil)
        #expect(JSONText.string("a", in: Array(#"{"a":"#.utf8)) == nil)
    }
}
