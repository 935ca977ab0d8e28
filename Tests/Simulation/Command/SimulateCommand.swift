import Foundation
import Glibc
import Simulation

/// Worlds, one seed after the other, until time is up or enough was found. Ends with status 1 where anything was found.
@main struct SimulateCommand {
    static func main() {
        let arguments = Arguments(CommandLine.arguments)
        repeatWithSteadyHashing()
        let began = Date()
        var seed = arguments.seed ?? arguments.from ?? UInt64.random(in: 1...UInt64(UInt32.max))
        if arguments.seed == nil { print("from seed \(seed) on") }
        var (hours, found) = (0.0, 0)
        repeat {
            let world = World(seed: seed)
            world.keepsStory = arguments.isVerbose
            if arguments.seed == nil { world.mustEnd = { Date().timeIntervalSince(began) >= arguments.seconds } }
            world.live(days: arguments.days)
            hours += world.tally.queueHours
            let isWanted = world.findings.contains { arguments.kinds?.contains($0.kind.rawValue) ?? true }
            if isWanted { found += 1 }
            if isWanted || arguments.isVerbose { report(world, arguments) }
            fflush(nil)
            seed += 1
        } while arguments.seed == nil && Date().timeIntervalSince(began) < arguments.seconds && found < arguments.findings
        let minutes = Date().timeIntervalSince(began) / 60
        print(String(format: "%.0f queue-hours in %.2f core-minutes, %d seeds with findings", hours, minutes, found))
        exit(found > 0 ? 1 : 0)
    }

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

/// What was asked for.
struct Arguments {
    /// This one alone.
    var seed: UInt64?
    /// This one and those that follow.
    var from: UInt64?
    var seconds = 60.0
    var days = 2
    var findings = 10
    /// Only findings of these kinds count.
    var kinds: [String]?
    var isVerbose = false
    /// Of what happened before a finding.
    var lines = 0

    init(_ words: [String]) {
        var rest = words.dropFirst()
        while let word = rest.popFirst() {
            switch word {
            case "--seed": seed = rest.popFirst().flatMap { UInt64($0) }
            case "--from": from = rest.popFirst().flatMap { UInt64($0) }
            case "--seconds": seconds = rest.popFirst().flatMap { Double($0) } ?? seconds
            case "--days": days = rest.popFirst().flatMap { Int($0) } ?? days
            case "--findings": findings = rest.popFirst().flatMap { Int($0) } ?? findings
            case "--story":
                lines = rest.popFirst().flatMap { Int($0) } ?? lines
                isVerbose = true
            case "--only": kinds = rest.popFirst()?.split(separator: ",").map { String($0) }
            case "--verbose": isVerbose = true
            default:
                print(
                    "simulate [--seed N | --from N] [--seconds S] [--days D] [--findings N] [--only KIND,...] [--story LINES] [--verbose]")
                exit(2)
            }
        }
    }
}
