/// What the server says that its process has used, read off its metrics.
struct ServerUse {
    let cpuSeconds: Double
    let residentBytes: Double
    /// From clients and to them, since the start.
    let networkBytes: Double
    /// When it was asked, in seconds of the monotonic clock.
    let at: Double

    /// nil where these are not the metrics of a server.
    init?(metrics: [UInt8], at nanoseconds: UInt64) {
        guard let cpu = ServerUse.value("process_cpu_seconds_total", in: metrics),
            let resident = ServerUse.value("process_resident_memory_bytes", in: metrics)
        else { return nil }
        cpuSeconds = cpu
        residentBytes = resident
        networkBytes = ["received", "sent"].reduce(0) { sum, way in
            sum + ServerUse.sum("stanchion_network_\(way)_bytes_total{", in: metrics)
        }
        at = Double(nanoseconds) / 1e9
    }

    /// Of all series of a family, whose name ends with the brace.
    private static func sum(_ prefix: String, in metrics: [UInt8]) -> Double {
        var (sum, rest) = (0.0, metrics[...])
        while let start = rest.firstRange(of: Array("\n\(prefix)".utf8))?.upperBound {
            let line = rest[start...].prefix { $0 != UInt8(ascii: "\n") }
            sum += line.split(separator: UInt8(ascii: " ")).last.flatMap { Double(String(decoding: $0, as: UTF8.self)) } ?? 0
            rest = rest[line.endIndex...]
        }
        return sum
    }

    /// Of a series without labels, in Prometheus' text.
    private static func value(_ name: String, in metrics: [UInt8]) -> Double? {
        guard let start = metrics.firstRange(of: Array("\n\(name) ".utf8))?.upperBound else { return nil }
        return Double(String(decoding: metrics[start...].prefix { $0 != UInt8(ascii: "\n") }, as: UTF8.self))
    }
}
