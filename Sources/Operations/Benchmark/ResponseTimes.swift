import Histogram

/// How long one thing took, done again and again, beside how long it may take. Times are milliseconds.
public struct ResponseTimes: Sendable {
    public struct Percentiles: Codable, Sendable, Equatable {
        public let p50, p95, p99: Double
        public init(_ p50: Double, _ p95: Double, _ p99: Double) {
            self.p50 = p50
            self.p95 = p95
            self.p99 = p99
        }
    }

    public let name: String
    public let target: Percentiles
    private var histogram = Histogram<UInt64>(highestTrackableValue: 120_000_000, numberOfSignificantValueDigits: .three)

    public init(_ name: String, target: Percentiles) {
        self.name = name
        self.target = target
    }

    public mutating func note(nanoseconds: UInt64) { histogram.record(min(nanoseconds / 1_000, 120_000_000)) }

    public var count: Int { Int(histogram.totalCount) }

    /// All zero where nothing was noted.
    public var measured: Percentiles {
        func milliseconds(_ percentile: Double) -> Double { Double(histogram.valueAtPercentile(percentile)) / 1_000 }
        return count == 0 ? Percentiles(0, 0, 0) : Percentiles(milliseconds(50), milliseconds(95), milliseconds(99))
    }

    /// Nothing that was not done is quick.
    public var isMet: Bool {
        count > 0 && measured.p50 <= target.p50 && measured.p95 <= target.p95 && measured.p99 <= target.p99
    }
}
