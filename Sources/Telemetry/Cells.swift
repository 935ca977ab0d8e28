import Metrics
import Synchronization

/// One series, or a histogram's.
protocol Cell: Sendable {
    func write(_ name: String, _ labels: String, into text: inout String)
}

final class CounterCell: CounterHandler, Cell {
    private let count = Atomic<Int64>(0)
    func increment(by amount: Int64) { count.wrappingAdd(amount, ordering: .relaxed) }
    func reset() { count.store(0, ordering: .relaxed) }
    var value: Int64 { count.load(ordering: .relaxed) }
    func write(_ name: String, _ labels: String, into text: inout String) {
        text += "\(name)\(braced(labels)) \(count.load(ordering: .relaxed))\n"
    }
}

final class GaugeCell: MeterHandler, RecorderHandler, Cell {
    private let bits = Atomic<UInt64>(0)

    func set(_ value: Int64) { set(Double(value)) }
    func set(_ value: Double) { bits.store(value.bitPattern, ordering: .relaxed) }
    func record(_ value: Int64) { set(Double(value)) }
    func record(_ value: Double) { set(value) }
    func increment(by amount: Double) { add(amount) }
    func decrement(by amount: Double) { add(-amount) }

    private func add(_ amount: Double) {
        var known = bits.load(ordering: .relaxed)
        while true {
            let new = (Double(bitPattern: known) + amount).bitPattern
            let (exchanged, original) = bits.weakCompareExchange(expected: known, desired: new, ordering: .relaxed)
            if exchanged { return }
            known = original
        }
    }

    func write(_ name: String, _ labels: String, into text: inout String) {
        text += "\(name)\(braced(labels)) \(Double(bitPattern: bits.load(ordering: .relaxed)))\n"
    }
}

/// A value that was read off something else.
struct ReadOff: Cell {
    let value: Double
    func write(_ name: String, _ labels: String, into text: inout String) { text += "\(name)\(braced(labels)) \(value)\n" }
}

/// How many were no larger than each of some bounds. Recording takes no lock: loops record at the same time.
final class HistogramCell: TimerHandler, RecorderHandler, Cell, @unchecked Sendable {
    // Unchecked: nothing but atomics behind a pointer that does not change.
    private let buckets: Buckets
    private let counts: UnsafeMutablePointer<Atomic<Int64>>
    /// In billionths.
    private let sum = Atomic<Int64>(0)

    init(_ buckets: Buckets) {
        self.buckets = buckets
        counts = .allocate(capacity: buckets.bounds.count + 1)
        for index in 0...buckets.bounds.count { (counts + index).initialize(to: Atomic(0)) }
    }

    deinit {
        counts.deinitialize(count: buckets.bounds.count + 1)
        counts.deallocate()
    }

    func reset() {}
    func recordNanoseconds(_ duration: Int64) { record(billionths: duration) }
    func record(_ value: Int64) { record(Double(value)) }
    func record(_ value: Double) { record(billionths: Int64(value * 1e9)) }

    private func record(billionths value: Int64) {
        counts[buckets.index(of: value)].wrappingAdd(1, ordering: .relaxed)
        sum.wrappingAdd(value, ordering: .relaxed)
    }

    var distribution: Distribution {
        Distribution(
            counts: (0...buckets.bounds.count).map { counts[$0].load(ordering: .relaxed) },
            seconds: Double(sum.load(ordering: .relaxed)) / 1e9)
    }

    func write(_ name: String, _ labels: String, into text: inout String) {
        let prefix = labels.isEmpty ? "" : labels + ","
        var total: Int64 = 0
        for (index, bound) in (buckets.bounds.map { "\($0)" } + ["+Inf"]).enumerated() {
            total += counts[index].load(ordering: .relaxed)
            text += "\(name)_bucket{\(prefix)le=\"\(bound)\"} \(total)\n"
        }
        text += "\(name)_sum\(braced(labels)) \(Double(sum.load(ordering: .relaxed)) / 1e9)\n\(name)_count\(braced(labels)) \(total)\n"
    }
}

private func braced(_ labels: String) -> String { labels.isEmpty ? "" : "{\(labels)}" }

/// The bounds of a histogram.
public struct Buckets: Sendable {
    let bounds: [Double]
    private let billionths: [Int64]

    public init(_ bounds: [Double]) {
        self.bounds = bounds
        billionths = bounds.map { Int64($0 * 1e9) }
    }

    func index(of value: Int64) -> Int { billionths.firstIndex { value <= $0 } ?? bounds.count }

    /// Answers of a machine: 100 µs to 10 s.
    public static let latencies = Buckets([
        0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 1.5, 2, 2.5, 5, 10,
    ])
    /// What people wait: a second to a day.
    public static let waits = Buckets([1, 5, 15, 30, 60, 120, 300, 600, 1_200, 1_800, 3_600, 7_200, 14_400, 28_800, 86_400])
    /// How many at once.
    public static let sizes = Buckets([1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1_024, 2_048, 4_096])
}
