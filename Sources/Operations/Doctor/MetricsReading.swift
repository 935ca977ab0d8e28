/// A server's metrics at one moment, from Prometheus' text
/// (https://prometheus.io/docs/instrumenting/exposition_formats/#text-based-format).
struct MetricsReading: Sendable {
    private struct Series {
        let labels: [String: String]
        let value: Double
    }

    private var series: [String: [Series]] = [:]

    /// nil where these are not the metrics of a server.
    init?(_ text: String) {
        for line in text.split(separator: "\n") where !line.hasPrefix("#") {
            guard let space = line.lastIndex(of: " "), let value = Double(line[line.index(after: space)...]) else { return nil }
            let head = line[..<space]
            let name = head.prefix { $0 != "{" }
            series[String(name), default: []].append(Series(labels: MetricsReading.labels(head[name.endIndex...]), value: value))
        }
        guard series["stanchion_processors"] != nil, series["process_cpu_seconds_total"] != nil else { return nil }
    }

    private static func labels(_ text: Substring) -> [String: String] {
        let pairs = text.matches(of: /([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\]|\\.)*)"/).map { (String($0.1), String($0.2)) }
        return Dictionary(pairs) { first, _ in first }
    }

    /// The sum of those with these labels; nil where there is none.
    func value(_ name: String, _ labels: [String: String] = [:]) -> Double? {
        let matching = matching(name, labels)
        return matching.isEmpty ? nil : matching.reduce(0) { $0 + $1.value }
    }

    /// Sums by the value of a label.
    func values(_ name: String, _ labels: [String: String] = [:], by label: String) -> [String: Double] {
        Dictionary(matching(name, labels).compactMap { series in series.labels[label].map { ($0, series.value) } }, uniquingKeysWith: +)
    }

    private func matching(_ name: String, _ labels: [String: String]) -> [Series] {
        (series[name] ?? []).filter { series in labels.allSatisfy { series.labels[$0.key] == $0.value } }
    }
}

/// What happened between two readings.
struct MetricsWindow: Sendable {
    let before: MetricsReading
    let after: MetricsReading
    let seconds: Double

    func increase(_ name: String, _ labels: [String: String] = [:]) -> Double {
        max(0, (after.value(name, labels) ?? 0) - (before.value(name, labels) ?? 0))
    }

    /// Those that are over 0, by the value of a label.
    func increases(_ name: String, by label: String) -> [String: Double] {
        let old = before.values(name, by: label)
        return after.values(name, by: label).reduce(into: [:]) { result, new in
            let increase = new.value - (old[new.key] ?? 0)
            if increase > 0 { result[new.key] = increase }
        }
    }

    /// What a histogram has seen, in the mean; nil where it has seen nothing.
    func mean(_ histogram: String) -> Double? {
        let count = increase(histogram + "_count")
        return count > 0 ? increase(histogram + "_sum") / count : nil
    }

    /// The value that a share of what a histogram has seen did not exceed, as far as its buckets tell; nil where it has seen
    /// fewer than `least`.
    func quantile(_ share: Double, _ histogram: String, _ labels: [String: String] = [:], least: Double = 1) -> Double? {
        let old = before.values(histogram + "_bucket", labels, by: "le")
        let buckets = after.values(histogram + "_bucket", labels, by: "le")
            .map { (bound: $0.key == "+Inf" ? .infinity : Double($0.key) ?? .infinity, count: $0.value - (old[$0.key] ?? 0)) }
            .sorted { $0.bound < $1.bound }
        guard let total = buckets.last?.count, total >= least, total > 0 else { return nil }
        var (lowerBound, lowerCount) = (0.0, 0.0)
        for bucket in buckets {
            if bucket.count >= share * total {
                guard bucket.bound.isFinite, bucket.count > lowerCount else { return lowerBound }
                return lowerBound + (bucket.bound - lowerBound) * (share * total - lowerCount) / (bucket.count - lowerCount)
            }
            (lowerBound, lowerCount) = (bucket.bound, bucket.count)
        }
        return lowerBound
    }
}
