import Metrics
import Telemetry
import Testing

@Suite struct PrometheusRegistryTests {
    @Test func writesTheExpositionFormat() {
        let registry = PrometheusRegistry()
        Counter(label: "a_total", dimensions: [("class", "2xx")], factory: registry).increment(by: 3)
        Counter(label: "a_total", dimensions: [("class", "4xx")], factory: registry).increment()
        let meter = Meter(label: "b", factory: registry)
        meter.increment(by: 2)
        meter.decrement()
        Metrics.Timer(label: "c_seconds", factory: registry).recordNanoseconds(3_000_000)
        let lines = registry.text().split(separator: "\n").map(String.init)
        #expect(lines.prefix(3) == ["# TYPE a_total counter", "a_total{class=\"2xx\"} 3", "a_total{class=\"4xx\"} 1"])
        #expect(lines.contains("b 1.0"))
        #expect(lines.contains("c_seconds_bucket{le=\"0.0025\"} 0"))
        #expect(lines.contains("c_seconds_bucket{le=\"0.005\"} 1"))
        #expect(lines.contains("c_seconds_bucket{le=\"+Inf\"} 1"))
        #expect(lines.contains("c_seconds_count 1"))
    }

    @Test func theSameSeriesIsOneSeries() {
        let measurements = Measurements()
        measurements.joins.increment()
        Counter(label: "stanchion_joins_total", factory: measurements.registry).increment()
        #expect(measurements.registry.text().contains("stanchion_joins_total 2"))
    }
}
