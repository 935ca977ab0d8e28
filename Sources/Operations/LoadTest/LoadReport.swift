public import Foundation

/// What a load test measured. Times are seconds.
public struct LoadReport: Codable, Sendable, Equatable {
    public struct Operation: Codable, Sendable, Equatable {
        public let name: String
        /// Those that succeeded; durations are theirs.
        public let count: Int
        /// Those that failed, by what happened.
        public let errors: [String: Int]
        public let mean, p50, p95, p99, highest: Double
    }

    /// A second of the test.
    public struct Second: Codable, Sendable, Equatable {
        public let second: Double
        public let users: Int
        /// Positions that were pushed to them.
        public let frames: Int
        public let operations: Int
        public let errors: Int
        public let p50, p95, p99: Double
    }

    /// What the server's process used, as it says itself.
    public struct Server: Codable, Sendable, Equatable {
        /// Processors in the mean, from when everybody was there to the end.
        public let cores: Double
        public let mostResidentBytes: Double
        /// From clients and to them; nil in reports of older versions.
        public var networkBytesPerSecond: Double?
    }

    /// How many people had a place while all should be there.
    public struct Held: Codable, Sendable, Equatable {
        public let minimum, mean, maximum: Double
    }

    /// Something that was asked for, and whether it was so.
    public struct Verdict: Codable, Sendable, Equatable {
        public let what: String
        public let limit: Double
        public let measured: Double
        public var isMet: Bool { measured <= limit }
    }

    public internal(set) var scenario: Scenario
    public let operations: [Operation]
    public let seconds: [Second]
    /// People at once, at most.
    public let mostUsers: Int
    /// nil where the test ended with its ramp, and in reports of older versions.
    public var held: Held?
    /// People who were let in.
    public let admitted: Int
    /// nil where the test was too short for two looks at it, ten seconds.
    public let server: Server?
    /// Events that the slowest of two integrators was told, and those that either missed.
    public let eventsFollowed: Int
    public let eventsMissing: Int
    /// It was ended before its time.
    public let isInterrupted: Bool

    public var errors: Int { operations.reduce(0) { $0 + $1.errors.values.reduce(0, +) } }
    public var done: Int { operations.reduce(0) { $0 + $1.count } }
    public var errorPercent: Double { done + errors == 0 ? 0 : 100 * Double(errors) / Double(done + errors) }

    /// A test in which nothing was done has shown nothing.
    public var verdicts: [Verdict] {
        let slowest = operations.max { $0.p95 < $1.p95 }
        let heldVerdict = held.map { held in
            Verdict(
                what: "people more or fewer than the scenario says, %", limit: scenario.limitHeldPercent,
                measured: 100 * max(scenario.users - held.minimum, held.maximum - scenario.users) / scenario.users)
        }
        return [
            Verdict(
                what: "p95 of the slowest operation\(slowest.map { " (\($0.name))" } ?? ""), s", limit: scenario.limitSeconds,
                measured: done == 0 ? .infinity : slowest!.p95),
            Verdict(what: "errors, %", limit: scenario.limitErrorPercent, measured: errorPercent),
            Verdict(what: "events that integrators missed", limit: 0, measured: Double(eventsMissing)),
        ] + (heldVerdict.map { [$0] } ?? [])
    }

    public var isMet: Bool { verdicts.allSatisfy(\.isMet) }

    /// All of it, and what follows from it, sorted so that two reports can be compared.
    public func json() throws -> Data {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.prettyPrinted, .sortedKeys]
        encoder.nonConformingFloatEncodingStrategy = .convertToString(positiveInfinity: "inf", negativeInfinity: "-inf", nan: "nan")
        struct Whole: Encodable {
            let report: LoadReport
            let verdicts: [Verdict]
            let isMet: Bool
        }
        return try encoder.encode(Whole(report: self, verdicts: verdicts, isMet: isMet))
    }

    /// For people at a terminal.
    public var table: String {
        func milliseconds(_ seconds: Double) -> String { String(format: "%10.1f", seconds * 1_000) }
        func cell(_ text: String, _ width: Int) -> String { text.padding(toLength: max(width, text.count), withPad: " ", startingAt: 0) }
        var lines = [cell("milliseconds", 24) + "     count    errors       p50       p95       p99   highest"]
        for operation in operations {
            let counts = String(format: "%10d%10d", operation.count, operation.errors.values.reduce(0, +))
            lines.append(
                cell(operation.name, 24) + counts
                    + [operation.p50, operation.p95, operation.p99, operation.highest].map(milliseconds).joined())
        }
        for operation in operations {
            for (reason, count) in operation.errors.sorted(by: { $0.key < $1.key }) {
                lines.append("\(operation.name): \(count) × \(reason)")
            }
        }
        lines.append("\(mostUsers) people at most, \(admitted) let in, \(eventsFollowed) events followed")
        if let held {
            lines.append(
                String(
                    format: "people held: %.0f at least, %.1f in the mean, %.0f at most, of %.0f", held.minimum, held.mean, held.maximum,
                    scenario.users))
        }
        if let server {
            lines.append(String(format: "the server used %.2f processors and %.0f MB", server.cores, server.mostResidentBytes / 1e6))
        }
        for verdict in verdicts {
            let (measured, limit) = (String(format: "%.3f", verdict.measured), String(format: "%g", verdict.limit))
            lines.append("\(verdict.isMet ? "met   " : "MISSED") \(verdict.what): \(measured), at most \(limit)")
        }
        return lines.joined(separator: "\n")
    }
}
