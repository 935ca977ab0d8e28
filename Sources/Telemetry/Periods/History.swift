/// The last hour in short periods, and whole hours that the store has not been told of.
public struct History: Sendable {
    /// How long a period is meant to be; one that is late is longer.
    public static let step = 10.0
    /// So many are kept: an hour.
    private static let limit = 360
    /// Hours that wait for a store that is away; older ones are given up.
    private static let unstoredLimit = 48

    /// A period, and when it ended.
    public struct Point: Sendable, Equatable {
        /// Seconds since 1970.
        public let end: Double
        public let period: Period

        public init(end: Double, period: Period) { (self.end, self.period) = (end, period) }
    }

    /// An hour of this instance, as far as it has come.
    public struct Hour: Sendable, Equatable {
        /// Hours since 1970.
        public let number: Int
        public fileprivate(set) var period: Period
    }

    private var points: [Point] = []
    private var last: (counts: Counts, elapsed: Double)
    /// The last one is the present hour.
    private var hours: [Hour] = []

    /// - Parameters:
    ///   - counts: what was counted before the first period.
    ///   - elapsed: seconds on a clock that runs evenly.
    public init(_ counts: Counts = Counts(), elapsed: Double) { last = (counts, elapsed) }

    /// Ends a period.
    ///
    /// - Parameters:
    ///   - counts: since the start.
    ///   - now: seconds since 1970.
    public mutating func note(_ counts: Counts, _ levels: Levels, elapsed: Double, now: Double) {
        let period = Period(seconds: elapsed - last.elapsed, counts: counts - last.counts, levels: levels)
        last = (counts, elapsed)
        points.append(Point(end: now, period: period))
        if points.count > History.limit { points.removeFirst() }
        add(period, to: Int((now / 3_600).rounded(.down)))
    }

    private mutating func add(_ period: Period, to number: Int) {
        if let hour = hours.last, hour.number == number {
            hours[hours.count - 1].period = hour.period.followed(by: period)
        } else {
            hours.append(Hour(number: number, period: period))
            if hours.count > History.unstoredLimit { hours.removeFirst() }
        }
    }

    /// The last so many seconds, or as many as there have been; nil before the first period has ended.
    public func last(seconds: Double) -> Period? { History.together(points.suffix(Int(seconds / History.step))) }

    /// The same in so many parts of the same number of periods, the oldest first.
    public func parts(seconds: Double, count: Int) -> [Point] {
        let recent = points.suffix(Int(seconds / History.step))
        let size = max(1, (Int(seconds / History.step) + count - 1) / count)
        return stride(from: recent.startIndex, to: recent.endIndex, by: size).map { start in
            let part = recent[start..<min(start + size, recent.endIndex)]
            return Point(end: part.last!.end, period: History.together(part)!)
        }
    }

    private static func together(_ points: ArraySlice<Point>) -> Period? {
        guard let first = points.first else { return nil }
        return points.dropFirst().reduce(first.period) { $0.followed(by: $1.period) }
    }

    /// What the store is to be told: whole hours, and the present one as far as it has come.
    public var unstored: [Hour] { hours }

    /// The store knows these, as they were. The present hour goes on.
    public mutating func stored(_ stored: [Hour]) {
        let present = hours.last?.number
        hours.removeAll { $0.number != present && stored.contains($0) }
    }
}

/// The longest of what was told since about half a minute ago, however often and by whomever it is asked for.
public struct Longest: Sendable {
    private var recent = [0.0, 0, 0]

    public init() {}

    public mutating func note(_ value: Double) { recent[0] = max(recent[0], value) }
    /// To be called every `History.step` seconds.
    public mutating func step() { recent = [0] + recent.dropLast() }
    public var value: Double { recent.max()! }
}
