/// A moment: microseconds since 1970-01-01T00:00:00Z. The engine is given moments, it never reads a clock.
public struct Timestamp: Sendable, Hashable, Comparable, Codable {
    public var microseconds: Int64

    public init(microseconds: Int64) { self.microseconds = microseconds }
    public init(seconds: Double) { microseconds = Int64((seconds * 1_000_000).rounded()) }

    /// After every event: the year 2200. The pace is reckoned in nanoseconds, of which 64 bits have no room for much more.
    public static let latestEvent = Timestamp(microseconds: 7_258_118_400_000_000)
    /// Before every event.
    public static let distantPast = Timestamp(microseconds: 0)

    public var seconds: Double { Double(microseconds) / 1_000_000 }

    public static func < (a: Timestamp, b: Timestamp) -> Bool { a.microseconds < b.microseconds }
    public static func + (moment: Timestamp, span: Span) -> Timestamp { Timestamp(microseconds: moment.microseconds + span.microseconds) }
    public static func - (moment: Timestamp, span: Span) -> Timestamp { Timestamp(microseconds: moment.microseconds - span.microseconds) }
    public static func - (a: Timestamp, b: Timestamp) -> Span { Span(microseconds: a.microseconds - b.microseconds) }

    /// A length of time.
    public struct Span: Sendable, Hashable, Comparable {
        public var microseconds: Int64
        public init(microseconds: Int64) { self.microseconds = microseconds }
        public static func seconds(_ seconds: Int) -> Span { Span(microseconds: Int64(seconds) * 1_000_000) }
        public static func milliseconds(_ milliseconds: Int) -> Span { Span(microseconds: Int64(milliseconds) * 1_000) }
        public var seconds: Double { Double(microseconds) / 1_000_000 }
        public static func < (a: Span, b: Span) -> Bool { a.microseconds < b.microseconds }
    }
}
