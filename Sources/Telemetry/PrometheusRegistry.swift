public import Metrics
import Locks
import Synchronization

/// Where measurements are kept, and read as Prometheus text (exposition format 0.0.4).
///
/// A `MetricsFactory` of swift-metrics: labels are dimensions and come from closed sets only, never from what a client
/// sent, so the number of series is bounded.
public final class PrometheusRegistry: MetricsFactory {
    private struct Series: Hashable {
        let name: String
        let labels: String
        var braced: String { labels.isEmpty ? "" : "{\(labels)}" }
    }

    private struct Tables {
        var counters: [Series: CounterCell] = [:]
        var gauges: [Series: GaugeCell] = [:]
        var histograms: [Series: HistogramCell] = [:]
    }

    private let tables = Lock(Tables())

    public init() {}

    public func makeCounter(label: String, dimensions: [(String, String)]) -> any CounterHandler {
        tables.withLock { $0.counters.cell(PrometheusRegistry.series(label, dimensions), CounterCell.init) }
    }

    public func makeRecorder(label: String, dimensions: [(String, String)], aggregate: Bool) -> any RecorderHandler {
        aggregate ? histogram(label, dimensions) : gauge(label, dimensions)
    }

    public func makeMeter(label: String, dimensions: [(String, String)]) -> any MeterHandler { gauge(label, dimensions) }

    public func makeTimer(label: String, dimensions: [(String, String)]) -> any TimerHandler { histogram(label, dimensions) }

    public func destroyCounter(_ handler: any CounterHandler) {}
    public func destroyMeter(_ handler: any MeterHandler) {}
    public func destroyRecorder(_ handler: any RecorderHandler) {}
    public func destroyTimer(_ handler: any TimerHandler) {}

    /// The whole registry, sorted by name.
    public func text() -> String {
        let (counters, gauges, histograms) = tables.withLock { ($0.counters, $0.gauges, $0.histograms) }
        var text = ""
        PrometheusRegistry.write(counters, "counter", &text) { series, cell in ["\(series.name)\(series.braced) \(cell.value)"] }
        PrometheusRegistry.write(gauges, "gauge", &text) { series, cell in ["\(series.name)\(series.braced) \(cell.value)"] }
        PrometheusRegistry.write(histograms, "histogram", &text) { series, cell in cell.lines(series.name, series.labels) }
        return text
    }

    private static func write<Cell>(
        _ cells: [Series: Cell], _ type: String, _ text: inout String, _ lines: (Series, Cell) -> [String]
    ) {
        var last = ""
        for (series, cell) in cells.sorted(by: { ($0.key.name, $0.key.labels) < ($1.key.name, $1.key.labels) }) {
            if series.name != last { text += "# TYPE \(series.name) \(type)\n" }
            last = series.name
            for line in lines(series, cell) { text += line + "\n" }
        }
    }

    private func gauge(_ label: String, _ dimensions: [(String, String)]) -> GaugeCell {
        tables.withLock { $0.gauges.cell(PrometheusRegistry.series(label, dimensions), GaugeCell.init) }
    }

    private func histogram(_ label: String, _ dimensions: [(String, String)]) -> HistogramCell {
        tables.withLock { $0.histograms.cell(PrometheusRegistry.series(label, dimensions), HistogramCell.init) }
    }

    private static func series(_ label: String, _ dimensions: [(String, String)]) -> Series {
        Series(name: label, labels: dimensions.map { "\($0.0)=\"\($0.1)\"" }.joined(separator: ","))
    }
}

extension Dictionary {
    /// The one of that name, made where there is none.
    fileprivate mutating func cell(_ key: Key, _ make: () -> Value) -> Value {
        if let known = self[key] { return known }
        let made = make()
        self[key] = made
        return made
    }
}

private final class CounterCell: CounterHandler {
    private let count = Atomic<Int64>(0)
    var value: Int64 { count.load(ordering: .relaxed) }
    func increment(by amount: Int64) { count.wrappingAdd(amount, ordering: .relaxed) }
    func reset() { count.store(0, ordering: .relaxed) }
}

private final class GaugeCell: MeterHandler, RecorderHandler {
    private let bits = Atomic<UInt64>(0)
    var value: Double { Double(bitPattern: bits.load(ordering: .relaxed)) }

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
}

/// Buckets from 100 µs to 10 s; recorders of plain numbers use the same ones.
private final class HistogramCell: TimerHandler, RecorderHandler {
    private static let bounds: [Double] = [
        0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10,
    ]

    private struct State {
        var buckets = [Int](repeating: 0, count: HistogramCell.bounds.count + 1)
        var sum = 0.0
    }

    private let state = Lock(State())

    func recordNanoseconds(_ duration: Int64) { record(Double(duration) / 1e9) }
    func record(_ value: Int64) { record(Double(value)) }
    func record(_ value: Double) {
        let index = HistogramCell.bounds.firstIndex { value <= $0 } ?? HistogramCell.bounds.count
        state.withLock { state in
            state.buckets[index] += 1
            state.sum += value
        }
    }

    func lines(_ name: String, _ labels: String) -> [String] {
        let state = state.withLock { $0 }
        let prefix = labels.isEmpty ? "" : labels + ","
        var total = 0
        var lines: [String] = []
        for (bound, count) in zip(HistogramCell.bounds.map { "\($0)" } + ["+Inf"], state.buckets) {
            total += count
            lines.append("\(name)_bucket{\(prefix)le=\"\(bound)\"} \(total)")
        }
        let braced = labels.isEmpty ? "" : "{\(labels)}"
        return lines + ["\(name)_sum\(braced) \(state.sum)", "\(name)_count\(braced) \(total)"]
    }
}
