import DequeModule
import QueueEngine

/// Admissions of the last minute, over all instances.
struct Pace {
    private var recent = Deque<Timestamp>()
    private(set) var last: Timestamp?

    /// Says what is wrong with an admission at `moment`.
    mutating func admitted(at moment: Timestamp, rate: Int) -> String? {
        recent.append(moment)
        last = moment
        while let first = recent.first, first < moment - .seconds(60) { recent.removeFirst() }
        return recent.count > rate ? "\(recent.count) admissions in 60 s at \(rate) a minute" : nil
    }

    /// When the next admission is due, at the latest.
    func nextDue(rate: Int, possibleSince: Timestamp) -> Timestamp {
        var moment = possibleSince
        if let last { moment = max(moment, last + max(.milliseconds(100), Timestamp.Span(microseconds: 60_000_000 / Int64(rate) + 1))) }
        if recent.count >= rate { moment = max(moment, recent[recent.count - rate] + .seconds(60) + Timestamp.Span(microseconds: 1)) }
        return moment
    }
}
