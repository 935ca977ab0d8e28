import Glibc
import Locks
public import Logging
import Metrics
import Synchronization
public import Tracing

/// A tracer (swift-distributed-tracing) that keeps what is under way and forgets it, unless it was slow: then it says so
/// in the log, with the parts and when each began and ended.
///
/// While nothing is slow nothing is kept: how long something took is known without. From the first thing that was slow,
/// which is told without its parts, until a minute after the last one everything is traced.
public final class SlowOperations: Tracer {
    /// What is logged a second at most: where everything is slow a hundred lines say no more than ten.
    private static let linesPerSecond = 10

    private let threshold: UInt64
    private let count: Counter
    private let log: Logger
    private let lines = Lock((second: UInt64(0), count: 0))
    private static let watchNanoseconds: UInt64 = 60_000_000_000
    private let watchesUntil = Atomic<UInt64>(0)
    private let watches = Atomic(false)

    /// - Parameter milliseconds: what takes as long is slow.
    public init(milliseconds: Int, registry: PrometheusRegistry, log: Logger) {
        threshold = UInt64(milliseconds) * 1_000_000
        count = registry.counter(
            "stanchion_slow_operations_total", "Operations that took longer than they may, all in the log but for floods.")
        self.log = log
    }

    /// Begins an operation, or a part of the one that is under way; nil while nothing is slow: whoever asked then says
    /// with `took` how long it was.
    public func begin(_ name: @autoclosure () -> String) -> Operation? {
        guard watches.load(ordering: .relaxed) else { return nil }
        return Operation(name(), whole: Operation.current ?? InstrumentationContext.current?[Operation.Key.self], of: self)
    }

    /// Something ended that was not traced.
    public func took(_ nanoseconds: UInt64, _ name: @autoclosure () -> String) {
        if nanoseconds >= threshold { tell(name(), [], after: nanoseconds) }
    }

    fileprivate func ended(_ operation: Operation, after nanoseconds: UInt64) {
        guard nanoseconds < threshold else { return tell(operation.operationName, operation.parts, after: nanoseconds) }
        stopWatchingWhenDue()
    }

    fileprivate func stopWatchingWhenDue() {
        if Operation.now() > watchesUntil.load(ordering: .relaxed) { watches.store(false, ordering: .relaxed) }
    }

    private func tell(_ name: String, _ parts: [Operation.Part], after nanoseconds: UInt64) {
        count.increment()
        let now = Operation.now()
        watchesUntil.store(now + SlowOperations.watchNanoseconds, ordering: .relaxed)
        watches.store(true, ordering: .relaxed)
        let second = now / 1_000_000_000
        let isWritten = lines.withLock { lines in
            if lines.second != second { lines = (second, 0) }
            lines.count += 1
            return lines.count <= SlowOperations.linesPerSecond
        }
        guard isWritten else { return }
        var metadata: Logger.Metadata = ["operation": "\(name)", "milliseconds": "\(nanoseconds / 1_000_000)"]
        if !parts.isEmpty { metadata["parts"] = "\(parts.map(\.description).joined(separator: ", "))" }
        log.warning("a slow operation", metadata: metadata)
    }

    // MARK: Tracer

    public func startSpan<Instant: TracerInstant>(
        _ operationName: String, context: @autoclosure () -> InstrumentationContext, ofKind kind: SpanKind,
        at instant: @autoclosure () -> Instant, function: String, file fileID: String, line: UInt
    ) -> Operation { Operation(operationName, whole: context()[Operation.Key.self] ?? Operation.current, of: self) }

    public func startAnySpan<Instant: TracerInstant>(
        _ operationName: String, context: @autoclosure () -> InstrumentationContext, ofKind kind: SpanKind,
        at instant: @autoclosure () -> Instant, function: String, file fileID: String, line: UInt
    ) -> any Span {
        startSpan(operationName, context: context(), ofKind: kind, at: instant(), function: function, file: fileID, line: line)
    }

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

    /// The whole that is under way. Beside `InstrumentationContext`, which is a dictionary, because each request has one.
    @TaskLocal static var current: Operation?

    private let state: Lock<(name: String, parts: [Part])>
    private let tracer: SlowOperations
    fileprivate let whole: Operation?
    private let began = Operation.now()

    fileprivate init(_ name: String, whole: Operation?, of tracer: SlowOperations) {
        state = Lock((name, []))
        self.whole = whole
        self.tracer = tracer
    }

    /// What `body` begins is a part of this, and what tasks do that it starts: an async function around all that a request
    /// does would cost more than all else here.
    public func within<R>(_ body: () throws -> R) rethrows -> R { try Operation.$current.withValue(whole ?? self, operation: body) }

    /// What `body` begins is no part of what is under way.
    public static func apart<R>(_ body: () throws -> R) rethrows -> R {
        try $current.withValue(nil) { try InstrumentationContext.$current.withValue(nil, operation: body) }
    }

    /// Nanoseconds of the monotonic clock.
    static func now() -> UInt64 {
        var time = timespec()
        clock_gettime(CLOCK_MONOTONIC, &time)
        return UInt64(time.tv_sec) * 1_000_000_000 + UInt64(time.tv_nsec)
    }

    public func end() {
        let now = Operation.now()
        guard let whole else { return tracer.ended(self, after: now - began) }
        let part = Part(name: operationName, begin: began - whole.began, end: now - whole.began)
        whole.state.withLock { if $0.parts.count < Operation.partLimit { $0.parts.append(part) } }
    }

    /// Ends a whole of which nothing is told, however long it took.
    public func discard() { tracer.stopWatchingWhenDue() }

    fileprivate var parts: [Part] { state.withLock { $0.parts } }

    // MARK: Span

    public var context: InstrumentationContext {
        var context = InstrumentationContext.topLevel
        context[Key.self] = whole ?? self
        return context
    }

    public var operationName: String {
        get { state.withLock { $0.name } }
        set { state.withLock { $0.name = newValue } }
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
