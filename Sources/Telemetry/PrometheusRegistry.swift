public import Metrics
import Locks

/// Where measurements are kept, and read as Prometheus text (exposition format 0.0.4).
///
/// A `MetricsFactory` of swift-metrics. Labels come from closed sets, or from sets that a setting bounds, never from what
/// a client sent, so the number of series is bounded.
public final class PrometheusRegistry: MetricsFactory {
    public enum Kind: String, Sendable { case counter, gauge, histogram }

    private struct Family {
        let kind: Kind
        let help: String
        let buckets: Buckets
        /// By the text of their labels.
        var cells: [String: any Cell] = [:]
    }

    private let families = Lock([String: Family]())

    private let isRecording: Bool

    /// - Parameter isRecording: false: what is counted is thrown away; what is read off is still there.
    public init(isRecording: Bool = true) { self.isRecording = isRecording }

    // MARK: What is measured

    /// Something that only grows. Its name ends in `_total`.
    public func counter(_ name: String, _ help: String, _ labels: [(String, String)] = []) -> Counter {
        describe(name, .counter, help)
        return Counter(label: name, dimensions: labels, factory: self)
    }

    /// A closed set that a label's values come from.
    public typealias Label = RawRepresentable<String> & CaseIterable & Hashable

    /// One for each of a closed set, so that all of them are there from the start.
    public func counters<Case: Label>(_ name: String, _ help: String, _ label: String) -> [Case: Counter] {
        Dictionary(uniqueKeysWithValues: Case.allCases.map { ($0, counter(name, help, [(label, $0.rawValue)])) })
    }

    public func timers<Case: Label>(_ name: String, _ help: String, _ label: String) -> [Case: Metrics.Timer] {
        Dictionary(uniqueKeysWithValues: Case.allCases.map { ($0, timer(name, help, .latencies, [(label, $0.rawValue)])) })
    }

    /// Something that rises and falls.
    public func gauge(_ name: String, _ help: String, _ labels: [(String, String)] = []) -> Meter {
        describe(name, .gauge, help)
        return Meter(label: name, dimensions: labels, factory: self)
    }

    /// Durations, by how many were no longer than each of some bounds. Its name ends in `_seconds`.
    public func timer(_ name: String, _ help: String, _ buckets: Buckets = .latencies, _ labels: [(String, String)] = []) -> Metrics.Timer {
        describe(name, .histogram, help, buckets)
        return Metrics.Timer(label: name, dimensions: labels, factory: self)
    }

    /// Sizes, likewise.
    public func sizes(_ name: String, _ help: String, _ labels: [(String, String)] = []) -> Recorder {
        describe(name, .histogram, help, .sizes)
        return Recorder(label: name, dimensions: labels, aggregate: true, factory: self)
    }

    /// All series of a family that is read off something else from time to time, in place of those of the last time.
    public func set(_ name: String, _ kind: Kind, _ help: String, _ series: [(labels: [(String, String)], value: Double)]) {
        let cells = series.map { (PrometheusRegistry.text($0.labels), ReadOff(value: $0.value) as any Cell) }
        families.withLock { $0[name] = Family(kind: kind, help: help, buckets: .latencies, cells: Dictionary(cells) { $1 }) }
    }

    public func set(_ name: String, _ kind: Kind, _ help: String, _ value: Double) { set(name, kind, help, [([], value)]) }

    // MARK: swift-metrics

    public func makeCounter(label: String, dimensions: [(String, String)]) -> any CounterHandler {
        isRecording ? cell(label, .counter, dimensions) { _ in CounterCell() } : NOOPMetricsHandler.instance
    }

    public func makeRecorder(label: String, dimensions: [(String, String)], aggregate: Bool) -> any RecorderHandler {
        guard isRecording else { return NOOPMetricsHandler.instance }
        return aggregate ? histogram(label, dimensions) : gaugeCell(label, dimensions)
    }

    public func makeMeter(label: String, dimensions: [(String, String)]) -> any MeterHandler {
        isRecording ? gaugeCell(label, dimensions) : NOOPMetricsHandler.instance
    }

    public func makeTimer(label: String, dimensions: [(String, String)]) -> any TimerHandler {
        isRecording ? histogram(label, dimensions) : NOOPMetricsHandler.instance
    }

    public func destroyCounter(_ handler: any CounterHandler) {}
    public func destroyMeter(_ handler: any MeterHandler) {}
    public func destroyRecorder(_ handler: any RecorderHandler) {}
    public func destroyTimer(_ handler: any TimerHandler) {}

    private func gaugeCell(_ name: String, _ labels: [(String, String)]) -> GaugeCell { cell(name, .gauge, labels) { _ in GaugeCell() } }

    private func histogram(_ name: String, _ labels: [(String, String)]) -> HistogramCell {
        cell(name, .histogram, labels) { HistogramCell($0) }
    }

    /// The one of that name and those labels, made where there is none.
    private func cell<C: Cell>(_ name: String, _ kind: Kind, _ labels: [(String, String)], _ make: (Buckets) -> C) -> C {
        families.withLock { families in
            var family = families[name] ?? Family(kind: kind, help: "", buckets: .latencies)
            let key = PrometheusRegistry.text(labels)
            if let known = family.cells[key] as? C { return known }
            let made = make(family.buckets)
            family.cells[key] = made
            families[name] = family
            return made
        }
    }

    private func describe(_ name: String, _ kind: Kind, _ help: String, _ buckets: Buckets = .latencies) {
        families.withLock { families in
            if families[name] == nil { families[name] = Family(kind: kind, help: help, buckets: buckets) }
        }
    }

    // MARK: Reading

    /// A histogram's series taken together, where it is one of `Buckets.latencies`.
    public func distribution(of name: String) -> Distribution {
        histograms(name).map(\.distribution).reduce(Distribution(), +)
    }

    /// How many were recorded in a histogram's series, and all of them together.
    public func totals(of name: String) -> (count: Int64, sum: Double) {
        histograms(name).map(\.distribution).reduce((0, 0)) { ($0.0 + $1.total, $0.1 + $1.seconds) }
    }

    /// A counter's series taken together, or those of them with a label of that value.
    public func count(of name: String, where label: (name: String, value: String)? = nil) -> Int64 {
        let wanted = label.map { PrometheusRegistry.text([($0.name, $0.value)]) }
        return cells(name).filter { series in wanted.map { series.labels.contains($0) } ?? true }
            .reduce(0) { $0 + (($1.cell as? CounterCell)?.value ?? 0) }
    }

    private func histograms(_ name: String) -> [HistogramCell] { cells(name).compactMap { $0.cell as? HistogramCell } }

    private func cells(_ name: String) -> [(labels: String, cell: any Cell)] {
        families.withLock { $0[name].map { family in family.cells.map { ($0.key, $0.value) } } ?? [] }
    }

    /// Reads off what the process uses of its machine. Where descriptors must be counted (Linux before 6.2) that takes as
    /// long as there are many: not for an event loop.
    public func readProcess() { ProcessFigures.write(to: self) }

    /// The whole registry, sorted by name. A family of which nothing has been measured yet is left out.
    public func text() -> String {
        let families = families.withLock { $0 }
        var text = ""
        for (name, family) in families.sorted(by: { $0.key < $1.key }) where !family.cells.isEmpty {
            if !family.help.isEmpty { text += "# HELP \(name) \(family.help)\n" }
            text += "# TYPE \(name) \(family.kind.rawValue)\n"
            for (labels, cell) in family.cells.sorted(by: { $0.key < $1.key }) { cell.write(name, labels, into: &text) }
        }
        return text
    }

    /// `a="1",b="2"`, escaped as the format asks.
    private static func text(_ labels: [(String, String)]) -> String {
        labels.map { name, value in
            let escaped = value.replacing("\\", with: "\\\\").replacing("\"", with: "\\\"").replacing("\n", with: "\\n")
            return "\(name)=\"\(escaped)\""
        }.joined(separator: ",")
    }
}
