import Foundation
import Glibc
import Simulation

/// Worlds, one seed after the other, until time is up or enough was found. Ends with status 1 where anything was found.
@main struct SimulateCommand {
    static func main() {
        let arguments = Arguments(CommandLine.arguments)
        repeatWithSteadyHashing()
        if let joins = arguments.joinsPerSecond { exit(runBusyDay(joins, hours: arguments.hours)) }
        let began = Date()
        var isTimeOver: Bool {
            Date().timeIntervalSince(began) >= arguments.seconds || coreSeconds() >= arguments.coreSeconds
        }
        var seed = arguments.seed ?? arguments.from ?? UInt64.random(in: 1...UInt64(UInt32.max))
        if arguments.seed == nil { print("from seed \(seed) on") }
        var sums: [Options.Kind: Sum] = [:]
        var found = 0
        repeat {
            defer { seed += 1 }
            let kind = Options.kind(of: seed)
            guard arguments.seed != nil || arguments.kind.map({ $0 == kind }) ?? true else { continue }
            let before = coreSeconds()
            let world = World(seed: seed)
            world.keepsStory = arguments.lines > 0
            if arguments.seed == nil { world.mustEnd = { isTimeOver } }
            world.live(days: arguments.days)
            let isWanted = world.findings.contains { arguments.kinds?.contains($0.kind.rawValue) ?? true }
            sums[kind, default: Sum()].add(world.tally, seconds: coreSeconds() - before, isFound: isWanted)
            if isWanted { found += 1 }
            if isWanted || arguments.isVerbose { report(world, arguments) }
            fflush(nil)
        } while arguments.seed == nil && !isTimeOver && found < arguments.findings
        for kind in Options.Kind.allCases { if let sum = sums[kind] { print("\(kind): \(sum)") } }
        exit(found > 0 ? 1 : 0)
    }

    /// The second hour has everything at its size: what ended an hour ago is long deleted.
    private static func runBusyDay(_ joins: Int, hours: Int) -> Int32 {
        guard joins >= 10, hours >= 3 else {
            print("a busy day has 10 joins a second and 3 hours at least")
            return 2
        }
        var (settled, faults) = (BusyDay.Hour?.none, [String]())
        BusyDay(joinsPerSecond: joins).run(hours: hours) { hour in
            if hour.number == 2 { settled = hour }
            faults = settled.map { hour.faults(since: $0) } ?? []
            print(
                "hour \(hour.number): \(hour.joins) joins, \(hour.refused) requests refused, \(hour.waiting) wait,",
                "\(hour.resident / 1_000_000) MB resident")
            fflush(nil)
        }
        for text in faults { print("FAULT: \(text)") }
        return faults.isEmpty ? 0 : 1
    }

    /// Processor time of this process so far.
    private static func coreSeconds() -> Double { Double(clock()) / Double(CLOCKS_PER_SEC) }

    private static func report(_ world: World, _ arguments: Arguments) {
        if !world.findings.isEmpty { for line in world.story.suffix(arguments.lines) { print(line) } }
        for finding in world.findings { print("SEED \(world.seed): \(finding)") }
        if arguments.isVerbose {
            print("seed \(world.seed): digest \(String(world.digest, radix: 16)) of \(world.eventCount), \(world.tally)")
        }
    }

    /// The order of dictionaries and sets is drawn anew in every process, unless the environment forbids it before it starts.
    private static func repeatWithSteadyHashing() {
        guard getenv("SWIFT_DETERMINISTIC_HASHING") == nil else { return }
        setenv("SWIFT_DETERMINISTIC_HASHING", "1", 1)
        var arguments: [UnsafeMutablePointer<CChar>?] = CommandLine.arguments.map { strdup($0) }
        arguments.append(nil)
        execv("/proc/self/exe", &arguments)
        fatalError("cannot run again: \(String(cString: strerror(errno)))")
    }
}

/// What worlds of one kind came to. `run` adds up what is printed.
struct Sum: CustomStringConvertible {
    private var (worlds, hours, minutes, joins, commits, found) = (0, 0.0, 0.0, 0, 0, 0)

    mutating func add(_ tally: World.Tally, seconds: Double, isFound: Bool) {
        worlds += 1
        hours += tally.queueHours
        minutes += seconds / 60
        joins += tally.joined
        commits += tally.commits
        found += isFound ? 1 : 0
    }

    var description: String {
        String(format: "%.0f queue-hours in %.2f core-minutes, ", hours, minutes)
            + "\(worlds) worlds, \(joins) joins, \(commits) commits, \(found) with findings"
    }
}

/// What was asked for.
struct Arguments {
    /// This one alone.
    var seed: UInt64?
    /// This one and those that follow.
    var from: UInt64?
    var seconds = 60.0
    /// Of processor time.
    var coreSeconds = Double.infinity
    /// As many as the seed says, unless it is said here.
    var days: Int?
    /// Worlds of this kind alone.
    var kind: Options.Kind?
    var findings = 10
    /// Only findings of these kinds count.
    var kinds: [String]?
    var isVerbose = false
    /// Of what happened before a finding.
    var lines = 0
    /// A busy day instead of worlds.
    var joinsPerSecond: Int?
    var hours = 24

    init(_ words: [String]) {
        var rest = words.dropFirst()
        while let word = rest.popFirst() {
            switch word {
            case "--seed": seed = rest.popFirst().flatMap { UInt64($0) }
            case "--from": from = rest.popFirst().flatMap { UInt64($0) }
            case "--seconds": seconds = rest.popFirst().flatMap { Double($0) } ?? seconds
            case "--core-seconds": coreSeconds = rest.popFirst().flatMap { Double($0) } ?? coreSeconds
            case "--kind": kind = rest.popFirst().flatMap { Options.Kind(rawValue: $0) }
            case "--days": days = rest.popFirst().flatMap { Int($0) }
            case "--findings": findings = rest.popFirst().flatMap { Int($0) } ?? findings
            case "--story":
                lines = rest.popFirst().flatMap { Int($0) } ?? lines
                isVerbose = true
            case "--only": kinds = rest.popFirst()?.split(separator: ",").map { String($0) }
            case "--verbose": isVerbose = true
            case "--busy-day": joinsPerSecond = rest.popFirst().flatMap { Int($0) }
            case "--hours": hours = rest.popFirst().flatMap { Int($0) } ?? hours
            default:
                print(
                    """
                    simulate [--seed N | --from N] [--seconds S] [--core-seconds S] [--kind storm|months] [--days D]
                             [--findings N] [--only KIND,...] [--story LINES] [--verbose]
                    simulate --busy-day JOINS-A-SECOND [--hours H]
                    """)
                exit(2)
            }
        }
    }
}
