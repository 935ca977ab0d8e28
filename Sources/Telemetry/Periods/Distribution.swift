/// How many durations fell between the bounds of `Buckets.latencies`. Of two readings of one histogram the difference is
/// what came between.
public struct Distribution: Sendable, Equatable, Codable {
    /// One for each bound, and one for what was longer than all; empty: nothing.
    private var counts: [Int64]
    /// All of them together, in seconds.
    public private(set) var seconds: Double

    public init() { (counts, seconds) = ([], 0) }

    /// - Parameter counts: one for each bound, and one more.
    init(counts: [Int64], seconds: Double) { (self.counts, self.seconds) = (counts, seconds) }

    public var total: Int64 { counts.reduce(0, +) }

    /// nil where there is nothing.
    public var mean: Double? { total > 0 ? seconds / Double(total) : nil }

    /// The duration in seconds that so large a part did not exceed, as if those between two bounds lay evenly; at most the
    /// largest bound. nil where there is nothing.
    public func quantile(_ part: Double) -> Double? {
        let rank = part * Double(total)
        guard total > 0 else { return nil }
        let bounds = Buckets.latencies.bounds
        var below = 0.0
        for (index, count) in counts.prefix(bounds.count).enumerated() {
            let within = Double(count)
            if below + within >= rank, count > 0 {
                let floor = index > 0 ? bounds[index - 1] : 0
                return floor + (bounds[index] - floor) * (rank - below) / within
            }
            below += within
        }
        return bounds.last
    }

    /// The part that took longer than one of the bounds; nil where there is nothing.
    public func share(above bound: Double) -> Double? {
        guard total > 0 else { return nil }
        let within = zip(Buckets.latencies.bounds, counts).reduce(0) { $1.0 <= bound ? $0 + $1.1 : $0 }
        return Double(total - within) / Double(total)
    }

    public static func + (a: Distribution, b: Distribution) -> Distribution { a.combined(with: b, +, a.seconds + b.seconds) }
    public static func - (a: Distribution, b: Distribution) -> Distribution { a.combined(with: b, -, a.seconds - b.seconds) }

    private func combined(with other: Distribution, _ operation: (Int64, Int64) -> Int64, _ seconds: Double) -> Distribution {
        let size = max(counts.count, other.counts.count)
        func count(_ counts: [Int64], _ index: Int) -> Int64 { index < counts.count ? counts[index] : 0 }
        return Distribution(
            counts: (0..<size).map { operation(count(counts, $0), count(other.counts, $0)) }, seconds: seconds)
    }
}
