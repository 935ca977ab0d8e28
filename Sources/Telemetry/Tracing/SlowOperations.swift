import Glibc
import Locks
public import Logging
import Metrics
import Synchronization
public import Tracing

/// A tracer (swift-distributed-tracing) that keeps what is under way and forgets it, unless it was slow: then it says so
/// in the log, with the parts and when each began and ended.
///
/// It is used where it is given, not as the process's: with none there is nothing to be asked for.
public final class SlowOperations: Tracer {
    /// What is logged a second at most: where everything is slow a hundred lines say no more than ten.
    private static let linesPerSecond = 10

    private let threshold: UInt64
    private let count: Counter
    private let log: Logger
    private let lines = Lock((second: UInt64(0), count: 0))

    /// - Parameter milliseconds: what takes as long is slow.
    public init(milliseconds: Int, registry: PrometheusRegistry, log: Logger) {
        threshold = UInt64(milliseconds) * 1_000_000
        count = registry.counter(
            "stanchion_slow_operations_total", "Operations that took longer than they may, all in the log but for floods.")
        self.log = log
    }

    /// Begins an operation, or a part of the one that `context` is of.
    public func begin(_ name: String, in context: InstrumentationContext? = .current) -> Operation {
        Operation(name, whole: context?[Operation.Key.self], of: self)
    }

    /// Begins one and makes what `body` begins its parts.
    public nonisolated(nonsending) func trace<R>(_ name: String, _ body: nonisolated(nonsending) () async throws -> R) async rethrows -> R {
        let operation = begin(name)
        defer { operation.end() }
        return try await InstrumentationContext.$current.withValue(operation.context, operation: body)
    }

    func ended(_ operation: Operation, _ parts: [Operation.Part], after nanoseconds: UInt64) {
        guard nanoseconds >= threshold else { return }
        count.increment()
        let second = Operation.now() / 1_000_000_000
        let isWritten = lines.withLock { lines in
            if lines.second != second { lines = (second, 0) }
            lines.count += 1
            return lines.count <= SlowOperations.linesPerSecond
        }
        guard isWritten else { return }
        var metadata: Logger.Metadata = ["operation": "\(operation.operationName)", "milliseconds": "\(nanoseconds / 1_000_000)"]
        if !parts.isEmpty { metadata["parts"] = "\(parts.map(\.description).joined(separator: ", "))" }
        log.warning("a slow operation", metadata: metadata)
    }

    // MARK: Tracer

    public func startSpan<Instant: TracerInstant>(
        _ operationName: String, context: @autoclosure () -> InstrumentationContext, ofKind kind: SpanKind,
        at instant: @autoclosure () -> Instant, function: String, file fileID: String, line: UInt
    ) -> Operation { begin(operationName, in: context()) }

    public func startAnySpan<Instant: TracerInstant>(
        _ operationName: String, context: @autoclosure () -> InstrumentationContext, ofKind kind: SpanKind,
        at instant: @autoclosure () -> Instant, function: String, file fileID: String, line: UInt
    ) -> any Span { begin(operationName, in: context()) }

    public func activeSpan(identifiedBy context: InstrumentationContext) -> Operation? { context[Operation.Key.self] }
    public func forceFlush() {}

    // What is slow here is nobody else's to know.
    public func extract<Carrier, Extract: Extractor>(
        _ carrier: Carrier, into context: inout InstrumentationContext, using extractor: Extract
    ) where Extract.Carrier == Carrier {}
    public func inject<Carrier, Inject: Injector>(_ context: InstrumentationContext, into carrier: inout Carrier, using injector: Inject)
    where Inject.Carrier == Carrier {}
}

/// Something with a name that takes time: a whole, or a part of one.
public final class Operation: Span {
    enum Key: InstrumentationContextKey { typealias Value = Operation }

    /// What was done within a whole, in milliseconds from its beginning.
    struct Part: Sendable, CustomStringConvertible {
        let name: String
        let begin: UInt64
        let end: UInt64

        var description: String { "\(name) \(begin / 1_000_000)–\(end / 1_000_000)" }
    }

    private static let partLimit = 32

    private let name: Lock<String>
    private let tracer: SlowOperations
    private let whole: Operation?
    private let began = Operation.now()
    private let parts = Lock<[Part]>([])

    fileprivate init(_ name: String, whole: Operation?, of tracer: SlowOperations) {
        self.name = Lock(name)
        self.whole = whole
        self.tracer = tracer
    }

    static func now() -> UInt64 { clock_gettime_nsec(CLOCK_MONOTONIC) }

    public func end() {
        let now = Operation.now()
        guard let whole else { return tracer.ended(self, parts.withLock { $0 }, after: now - began) }
        let part = Part(name: operationName, begin: began - whole.began, end: now - whole.began)
        whole.parts.withLock { if $0.count < Operation.partLimit { $0.append(part) } }
    }

    // MARK: Span

    public var context: InstrumentationContext {
        var context = InstrumentationContext.topLevel
        context[Key.self] = whole ?? self
        return context
    }

    public var operationName: String {
        get { name.withLock { $0 } }
        set { name.withLock { $0 = newValue } }
    }

    public func end<Instant: TracerInstant>(at instant: @autoclosure () -> Instant) { end() }
    public var isRecording: Bool { true }

    // Nothing is kept but how long it takes.
    public func setStatus(_ status: SpanStatus) {}
    public func addEvent(_ event: SpanEvent) {}
    public func recordError<Instant: TracerInstant>(
        _ error: any Error, attributes: SpanAttributes, at instant: @autoclosure () -> Instant
    ) {}
    public var attributes: SpanAttributes {
        get { [:] }
        set {}
    }
    public func addLink(_ link: SpanLink) {}
}

private func clock_gettime_nsec(_ clock: clockid_t) -> UInt64 {
    var time = timespec()
    clock_gettime(clock, &time)
    return UInt64(time.tv_sec) * 1_000_000_000 + UInt64(time.tv_nsec)
}
