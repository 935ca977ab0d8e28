import Histogram

/// What has been measured: durations by operation, errors by what they were, and how things were second by second.
struct Tally {
    /// What people, integrators and operators do, as it is called in the report.
    enum Operation: String, CaseIterable {
        /// A WebSocket from its connection to a place in line, and back into the place after it was lost.
        case liveJoin = "join over WebSocket"
        case resume = "resume over WebSocket"
        case join = "join over REST"
        case position = "poll of a position"
        case leave = "leave over REST"
        case read = "read of a queue"
        case create = "create of a queue"
        case delete = "delete of a queue"
        case announce = "announcement"
    }

    /// In microseconds, three digits exact, to two minutes: whatever takes longer counts as that.
    private static let highest: UInt64 = 120_000_000
    private var durations: [Operation: Histogram<UInt64>] = [:]
    private var failures: [Operation: [String: Int]] = [:]
    private var interval = Histogram<UInt64>(highestTrackableValue: Tally.highest, numberOfSignificantValueDigits: .three)
    private var intervalErrors = 0
    private(set) var seconds: [LoadReport.Second] = []

    mutating func note(_ operation: Operation, nanoseconds: UInt64) {
        let value = min(nanoseconds / 1_000, Tally.highest)
        if durations[operation] == nil {
            durations[operation] = Histogram(highestTrackableValue: Tally.highest, numberOfSignificantValueDigits: .three)
        }
        durations[operation]!.record(value)
        interval.record(value)
    }

    mutating func fail(_ operation: Operation, _ reason: String) {
        failures[operation, default: [:]][reason, default: 0] += 1
        intervalErrors += 1
    }

    /// Ends a second.
    mutating func endSecond(at second: Double, users: Int, frames: Int) {
        seconds.append(
            LoadReport.Second(
                second: second, users: users, frames: frames, operations: Int(interval.totalCount), errors: intervalErrors,
                p50: Tally.seconds(interval, 50), p95: Tally.seconds(interval, 95), p99: Tally.seconds(interval, 99)))
        interval.reset()
        intervalErrors = 0
    }

    /// Sorted by how often they were done.
    var operations: [LoadReport.Operation] {
        Operation.allCases.compactMap { operation in
            let errors = failures[operation] ?? [:]
            guard durations[operation] != nil || !errors.isEmpty else { return nil }
            let durations = durations[operation] ?? Histogram(highestTrackableValue: Tally.highest)
            return LoadReport.Operation(
                name: operation.rawValue, count: Int(durations.totalCount), errors: errors, mean: durations.mean / 1e6,
                p50: Tally.seconds(durations, 50), p95: Tally.seconds(durations, 95), p99: Tally.seconds(durations, 99),
                highest: Double(durations.max) / 1e6)
        }.sorted { $0.count > $1.count }
    }

    private static func seconds(_ histogram: Histogram<UInt64>, _ percentile: Double) -> Double {
        histogram.totalCount == 0 ? 0 : Double(histogram.valueAtPercentile(percentile)) / 1e6
    }
}
