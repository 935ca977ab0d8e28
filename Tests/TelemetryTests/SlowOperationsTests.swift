import Locks
import Logging
import Telemetry
import Testing
import Tracing

@Suite struct SlowOperationsTests {
    /// What was logged.
    final class Lines: Sendable {
        let all = Lock<[Logger.Metadata]>([])
    }

    struct Handler: LogHandler {
        let lines: Lines
        var metadata: Logger.Metadata = [:]
        var logLevel = Logger.Level.info
        subscript(metadataKey key: String) -> Logger.MetadataValue? {
            get { metadata[key] }
            set { metadata[key] = newValue }
        }
        func log(event: LogEvent) { lines.all.withLock { $0.append(event.metadata ?? [:]) } }
    }

    private let lines = Lines()
    private let registry = PrometheusRegistry()

    /// One that has seen something slow.
    private func tracer(milliseconds: Int) -> SlowOperations {
        let tracer = SlowOperations(
            milliseconds: milliseconds, registry: registry, log: Logger(label: "t") { [lines] _ in Handler(lines: lines) })
        #expect(tracer.begin("nothing yet") == nil)
        tracer.took(3_600_000_000_000, "the first")
        return tracer
    }

    private var logged: ArraySlice<Logger.Metadata> { lines.all.withLock { $0.dropFirst() } }

    @Test func whatIsSlowIsToldWithItsParts() async throws {
        let tracer = tracer(milliseconds: 0)
        let whole = try #require(tracer.begin("whole"))
        try await whole.within {
            tracer.begin("first")?.end()
            let second = try #require(tracer.begin("second"))
            return Task {
                second.within { tracer.begin("within")?.end() }
                second.end()
            }
        }.value
        whole.end()
        #expect(logged.count == 1)
        #expect(logged.first?["operation"] == "whole")
        // In the order in which they ended; what is within a part is a part of the whole.
        let parts = logged.first?["parts"]?.description.split(separator: ", ").map { $0.split(separator: " ")[0] }
        #expect(parts == ["first", "within", "second"])
        #expect(registry.count(of: "stanchion_slow_operations_total") == 2)
    }

    @Test func whatIsQuickIsNotTold() throws {
        let tracer = tracer(milliseconds: 60_000)
        let whole = try #require(tracer.begin("whole"))
        whole.within { tracer.begin("part")?.end() }
        whole.end()
        tracer.begin("alone")?.end()
        tracer.took(59_000_000_000, "untraced")
        #expect(logged.isEmpty && registry.count(of: "stanchion_slow_operations_total") == 1)
    }

    /// Its own context is no part of another one, also while that goes on.
    @Test func whatIsBegunElsewhereIsItsOwn() throws {
        let tracer = tracer(milliseconds: 0)
        let whole = try #require(tracer.begin("whole"))
        whole.within { Operation.apart { tracer.begin("elsewhere")?.end() } }
        whole.end()
        #expect(logged.map { $0["operation"] } == ["elsewhere", "whole"])
        #expect(logged.allSatisfy { $0["parts"] == nil })
    }

    /// By the API that libraries use.
    @Test func itIsATracer() {
        let tracer = tracer(milliseconds: 0)
        tracer.withSpan("whole") { span in
            span.operationName = "renamed"
            tracer.withSpan("part") { _ in tracer.begin("within")?.end() }
        }
        #expect(logged.count == 1 && logged.first?["operation"] == "renamed")
        #expect(logged.first?["parts"]?.description.split(separator: " ")[0] == "within")
    }

    @Test func aFloodIsCountedAndNotWritten() {
        let tracer = tracer(milliseconds: 0)
        for _ in 0..<999 { tracer.begin("slow")?.end() }
        #expect(registry.count(of: "stanchion_slow_operations_total") == 1_000)
        #expect(logged.count <= 30)
    }
}
