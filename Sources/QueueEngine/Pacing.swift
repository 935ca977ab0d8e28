import DequeModule

/// When how many may be released: evenly, and never more than the rate in any 60 seconds.
///
/// The limit is a count of the admissions of the last 60 s, both ends included. (A token bucket with a burst of B lets
/// rate + B through in some 60 s.) Evenness comes from an anchor, the moment at which the last place was due, so that
/// a tick which comes late loses nothing and one after a pause has no burst.
struct Pacing: Sendable, Equatable {
    struct Release: Sendable, Hashable {
        let at: Timestamp
        var count: Int
    }

    static let window = Timestamp.Span.seconds(60)
    /// A late tick catches up on at most this much.
    static let catchUp = Timestamp.Span.seconds(1)
    /// Releases come in steps of at least this, however high the rate is.
    static let tick = Timestamp.Span.milliseconds(100)

    /// Nanoseconds since 1970: finer than an event's time, or high rates would be rounded away.
    private(set) var anchor: Int64 = 0
    private(set) var recent = Deque<Release>()
    private(set) var recentCount = 0

    init() {}

    init(anchor: Int64, recent: [Release]) {
        self.anchor = anchor
        self.recent = Deque(recent)
        recentCount = recent.reduce(0) { $0 + $1.count }
    }

    private static func interval(_ rate: Int) -> Int64 { (60_000_000_000 + Int64(rate) - 1) / Int64(rate) }
    private static func nanoseconds(_ span: Timestamp.Span) -> Int64 { span.microseconds * 1_000 }
    private static func nanoseconds(_ moment: Timestamp) -> Int64 { moment.microseconds * 1_000 }

    private func base(_ rate: Int, _ now: Timestamp) -> Int64 {
        max(anchor, Pacing.nanoseconds(now) - max(Pacing.interval(rate), Pacing.nanoseconds(Pacing.catchUp)))
    }

    /// How many places are due at `now`.
    func due(rate: Int, at now: Timestamp) -> Int {
        guard rate > 0 else { return 0 }
        let stale = recent.prefix { $0.at < now - Pacing.window }.reduce(0) { $0 + $1.count }
        let evenly = (Pacing.nanoseconds(now) - base(rate, now)) / Pacing.interval(rate)
        return max(0, min(Int(evenly), rate - (recentCount - stale)))
    }

    /// When a place will be due next, seen from `now`; nil at rate 0.
    func nextDue(rate: Int, after now: Timestamp) -> Timestamp? {
        guard rate > 0 else { return nil }
        let evenly = Timestamp(microseconds: (base(rate, now) + Pacing.interval(rate) + 999) / 1_000)
        var moment = max(evenly, recent.last.map { $0.at + Pacing.tick } ?? evenly)
        // The count of the window that ends at `moment` must leave room for one more.
        var count = recentCount
        for release in recent {
            guard count >= rate || release.at < moment - Pacing.window else { break }
            moment = max(moment, release.at + Pacing.window + Timestamp.Span(microseconds: 1))
            count -= release.count
        }
        return moment
    }

    /// Somebody was released at `moment`.
    mutating func released(rate: Int, at moment: Timestamp) {
        if rate > 0 { anchor = base(rate, moment) + Pacing.interval(rate) }
        if recent.last?.at == moment { recent[recent.count - 1].count += 1 } else { recent.append(Release(at: moment, count: 1)) }
        recentCount += 1
        forget(at: moment)
    }

    /// A release has become possible at `moment`: time that passed while nobody could be released is not caught up on.
    mutating func becamePossible(rate: Int, at moment: Timestamp) {
        guard rate > 0 else { return }
        anchor = max(anchor, Pacing.nanoseconds(moment) - Pacing.interval(rate))
    }

    mutating func forget(at now: Timestamp) {
        while let first = recent.first, first.at < now - Pacing.window {
            recentCount -= first.count
            recent.removeFirst()
        }
    }
}
