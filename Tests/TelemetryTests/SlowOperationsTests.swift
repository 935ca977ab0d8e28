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

    private func tracer(milliseconds: Int) -> SlowOperations {
        SlowOperations(milliseconds: milliseconds, registry: registry, log: Logger(label: "t") { [lines] _ in Handler(lines: lines) })
    }

    private var logged: [Logger.Metadata] { lines.all.withLock { $0 } }

    @Test func whatIsSlowIsToldWithItsParts() async {
        let tracer = tracer(milliseconds: 0)
        await tracer.trace("whole") {
            tracer.begin("first").end()
            await tracer.trace("second") { tracer.begin("within").end() }
        }
        #expect(logged.count == 1)
        #expect(logged.first?["operation"] == "whole")
        // In the order in which they ended; what is within a part is a part of the whole.
        let parts = logged.first?["parts"]?.description.split(separator: ", ").map { $0.split(separator: " ")[0] }
        #expect(parts == ["first", "within", "second"])
        #expect(registry.count(of: "stanchion_slow_operations_total") == 1)
    }

    @Test func whatIsQuickIsNotTold() async {
        let tracer = tracer(milliseconds: 60_000)
        await tracer.trace("whole") { tracer.begin("part").end() }
        tracer.begin("alone").end()
        #expect(logged.isEmpty && registry.count(of: "stanchion_slow_operations_total") == 0)
    }

    /// Its own context is no part of another one, also while that goes on.
    @Test func whatIsBegunElsewhereIsItsOwn() async {
        let tracer = tracer(milliseconds: 0)
        await tracer.trace("whole") {
            InstrumentationContext.$current.withValue(nil) { tracer.begin("elsewhere").end() }
        }
        #expect(logged.map { $0["operation"] } == ["elsewhere", "whole"])
        #expect(logged.allSatisfy { $0["parts"] == nil })
    }

    /// By the API that libraries use.
    @Test func itIsATracer() {
        let tracer = tracer(milliseconds: 0)
        tracer.withSpan("whole") { span in
            span.operationName = "renamed"
            tracer.withSpan("part") { _ in }
        }
        #expect(logged.count == 1 && logged[0]["operation"] == "renamed")
        #expect(logged[0]["parts"]?.description.hasPrefix("part 0–") == true)
    }

    @Test func aFloodIsCountedAndNotWritten() {
        let tracer = tracer(milliseconds: 0)
        for _ in 0..<1_000 { tracer.begin("slow").end() }
        #expect(registry.count(of: "stanchion_slow_operations_total") == 1_000)
        #expect(logged.count <= 30)
    }
}
