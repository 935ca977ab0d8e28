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

    /// People leave at random and are admitted, by as many as the scenario says or by none: there are as many all the same.
    @Test(arguments: [0.0, 1_000, 6_000]) func peopleAreHeldAlthoughTheyAreAdmitted(_ releasesPerMinute: Double) {
        var random = SeededRandom(seed: TestSeed.value)
        var scenario = LoadTestTests.scenario(users: 5_000, ramp: 30, duration: 200)
        scenario.staySeconds = 180
        scenario.releasesPerMinute = 1_000
        var control = PeopleControl(scenario)
        var (present, arrival, held) = (0, 0.0, HeldPeople())
        for second in 1...200 {
            for tenth in 0..<10 {
                let now = Double(second - 1) + Double(tenth) / 10
                arrival += control.arrivalsPerSecond(at: now, present: present) / 10
                present += Int(arrival)
                arrival -= arrival.rounded(.down)
            }
            let stays = (0..<present).count { _ in Double.random(in: 0..<scenario.staySeconds, using: &random) < 1 }
            let left = min(present, stays + Int(releasesPerMinute / 60))
            present -= left
            control.endSecond(left: left)
            if Double(second) >= scenario.heldFrom { held.note(present) }
        }
        let result = held.result!
        #expect(result.minimum > 4_900 && result.maximum < 5_100, "\(result)")
    }

    /// Chance alone makes no short test of few people fail. Their number is not distributed normally: of a thousand tests one or two
    /// are beyond four standard deviations.
    @Test func chanceAloneFailsNoTest() {
        var random = SeededRandom(seed: TestSeed.value)
        var failed: [Scenario] = []
        for _ in 0..<1_500 {
            var scenario = LoadTestTests.scenario(
                users: .random(in: 10...500, using: &random), ramp: .random(in: 0...10, using: &random).rounded(),
                duration: .random(in: 15...30, using: &random).rounded())
            scenario.users.round()
            scenario.staySeconds = .random(in: 20...300, using: &random)
            scenario.releasesPerMinute = .random(in: 0...scenario.users, using: &random)
            let held = LoadTestTests.held(in: scenario, &random)
            if max(scenario.users - held.minimum, held.maximum - scenario.users) > scenario.limitHeldPercent / 100 * scenario.users {
                failed.append(scenario)
            }
        }
        #expect(failed.count <= 8, "\(failed)")
    }

    /// How many people are held by a server that answers at once.
    private static func held(in scenario: Scenario, _ random: inout SeededRandom) -> LoadReport.Held {
        var (control, held, now) = (PeopleControl(scenario), HeldPeople(), 0.0)
        func stay(_ random: inout SeededRandom) -> Double { RandomMoments.exponential(mean: scenario.staySeconds, &random) }
        var ends = scenario.rampSeconds == 0 ? (0..<Int(scenario.users)).map { _ in stay(&random) } : []
        for second in 1...Int(scenario.durationSeconds) {
            let before = ends.count
            var came = 0
            while now < Double(second) {
                ends.removeAll { $0 <= now }
                let rate = control.arrivalsPerSecond(at: now, present: ends.count)
                let gap = rate > 0 ? RandomMoments.exponential(mean: 1 / rate, &random) : 1
                now += min(gap, 0.1)
                if gap <= 0.1 {
                    ends.append(now + stay(&random))
                    came += 1
                }
            }
            let admitted = Int(scenario.releasesPerMinute * Double(second) / 60) - Int(scenario.releasesPerMinute * Double(second - 1) / 60)
            ends.removeFirst(min(admitted, ends.count))
            control.endSecond(left: before + came - ends.count)
            if Double(second) >= scenario.heldFrom { held.note(ends.count) }
        }
        return held.result!
    }

    @Test func serverThatRefusesEverybodyIsNotAskedWithoutEnd() {
        let scenario = LoadTestTests.scenario(users: 5_000, ramp: 30, duration: 200)
        var control = PeopleControl(scenario)
        for _ in 0..<100 { control.endSecond(left: 1_000_000) }
        #expect(control.arrivalsPerSecond(at: 100, present: 0) < 1_000)
    }

    /// The program's scenarios are those of Config/scenarios.
    @Test func builtInScenariosEqualTheFiles() throws {
        let folder = URL(fileURLWithPath: #filePath).deletingLastPathComponent().appending(path: "../../Config/scenarios")
        for scenario in Scenario.builtIn {
            let text = try String(contentsOf: folder.appending(path: "\(scenario.name).yaml"), encoding: .utf8)
            for member in Scenario.members {
                let line = try #require(text.split(separator: "\n").first { $0.hasPrefix("\(member.name): ") })
                #expect(Double(line.dropFirst(member.name.count + 2)) == scenario[keyPath: member.path], "\(scenario.name): \(member.name)")
            }
            #expect(scenario.fault == nil)
        }
        #expect(try FileManager.default.contentsOfDirectory(atPath: folder.path).count == Scenario.builtIn.count)
    }

    @Test func runThatDoesNotHoldItsPeopleFails() {
        var report = LoadTestTests.report({ $0.note(.read, nanoseconds: 1_000) })
        report.scenario.users = 5_000
        report.scenario.releasesPerMinute = 1_000
        report.held = .init(minimum: 4_905, mean: 5_000, maximum: 5_095)
        #expect(report.isMet)
        report.held = .init(minimum: 4_890, mean: 5_000, maximum: 5_095)
        #expect(!report.isMet)
        report.held = .init(minimum: 4_905, mean: 5_000, maximum: 5_110)
        #expect(!report.isMet)
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
