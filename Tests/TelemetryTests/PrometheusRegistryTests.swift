import Metrics
import Telemetry
import Testing

@Suite struct PrometheusRegistryTests {
    private func lines(_ registry: PrometheusRegistry) -> [String] { registry.text().split(separator: "\n").map(String.init) }

    @Test func writesTheExpositionFormat() {
        let registry = PrometheusRegistry()
        registry.counter("a_total", "So many.", [("class", "2xx")]).increment(by: 3)
        registry.counter("a_total", "So many.", [("class", "4xx")]).increment()
        let gauge = registry.gauge("b", "How many there are.")
        gauge.increment(by: 2)
        gauge.decrement()
        let lines = lines(registry)
        #expect(
            lines.prefix(6) == [
                "# HELP a_total So many.", "# TYPE a_total counter", "a_total{class=\"2xx\"} 3", "a_total{class=\"4xx\"} 1",
                "# HELP b How many there are.", "# TYPE b gauge",
            ])
        #expect(lines.contains("b 1.0"))
    }

    @Test func countsWhatIsNoLargerThanEachBound() {
        let registry = PrometheusRegistry()
        let timer = registry.timer("c_seconds", "How long.", .latencies, [("kind", "x")])
        for milliseconds in [3, 3, 5, 20_000] as [Int64] { timer.recordNanoseconds(milliseconds * 1_000_000) }
        registry.sizes("d", "How large.").record(16)
        let lines = lines(registry)
        #expect(lines.contains("c_seconds_bucket{kind=\"x\",le=\"0.0025\"} 0"))
        // A bound is in its own bucket.
        #expect(lines.contains("c_seconds_bucket{kind=\"x\",le=\"0.005\"} 3"))
        #expect(lines.contains("c_seconds_bucket{kind=\"x\",le=\"10.0\"} 3"))
        #expect(lines.contains("c_seconds_bucket{kind=\"x\",le=\"+Inf\"} 4"))
        #expect(lines.contains("c_seconds_sum{kind=\"x\"} 20.011"))
        #expect(lines.contains("c_seconds_count{kind=\"x\"} 4"))
        #expect(lines.contains("d_bucket{le=\"8.0\"} 0") && lines.contains("d_bucket{le=\"16.0\"} 1"))
    }

    /// What is read off something else takes the place of what was read before, whatever its labels say.
    @Test func whatIsReadOffIsAsOfTheLastTime() {
        let registry = PrometheusRegistry()
        registry.set("e", .gauge, "Of each.", [(labels: [("of", "gone")], value: 1)])
        registry.set("e", .gauge, "Of each.", [(labels: [("of", "a\"b\\c\nd")], value: 2)])
        let text = registry.text()
        #expect(text.contains("# TYPE e gauge\ne{of=\"a\\\"b\\\\c\\nd\"} 2.0\n"))
        #expect(!text.contains("gone"))
    }

    /// Loops record at the same time, and nothing is lost.
    @Test func manyRecordAtOnce() async {
        let registry = PrometheusRegistry()
        let (timer, counter) = (registry.timer("f_seconds", "f"), registry.counter("g_total", "g"))
        await withTaskGroup { group in
            for _ in 0..<8 {
                group.addTask {
                    for _ in 0..<1_000 {
                        timer.recordNanoseconds(1_000_000)
                        counter.increment()
                    }
                }
            }
        }
        let lines = lines(registry)
        #expect(lines.contains("f_seconds_count 8000") && lines.contains("f_seconds_sum 8.0") && lines.contains("g_total 8000"))
    }

    @Test func theProcessIsThere() throws {
        let registry = PrometheusRegistry()
        registry.readProcess()
        let lines = lines(registry)
        func value(_ name: String) throws -> Double {
            try #require(lines.first { $0.hasPrefix(name + " ") }.flatMap { Double($0.split(separator: " ")[1]) })
        }
        #expect(try value("process_resident_memory_bytes") > 1_000_000)
        #expect(try value("process_open_fds") >= 3)
        #expect(try value("process_max_fds") >= value("process_open_fds"))
        #expect(try value("process_cpu_seconds_total") > 0)
        #expect(try value("process_start_time_seconds") > 1_700_000_000)
    }

    @Test func theSameSeriesIsOneSeries() {
        let measurements = Measurements()
        measurements.joins.increment()
        Counter(label: "stanchion_joins_total", factory: measurements.registry).increment()
        #expect(measurements.registry.text().contains("stanchion_joins_total 2"))
    }
}
