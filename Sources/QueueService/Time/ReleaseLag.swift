import QueueEngine

/// How late releases come: from the moment at which each could have come until it did.
///
/// A tick that comes late is caught up on for a second only (`QueueState.releaseCatchUp`). Whatever an outage took beyond
/// that delays everybody who stands in line then, so it counts for each of them until the line has been empty, or full, or
/// paused, and nobody waited for the pace.
struct ReleaseLag {
    /// When the next release is due; nil while nobody could be released.
    private(set) var due: Timestamp?
    /// How much later than they could have come releases are by now, though each keeps its distance to the last.
    private(set) var setBack = Timestamp.Span.seconds(0)

    /// The replica has changed, or time has passed: whether somebody could be released, and since when. Where that is still to come
    /// nobody is late, whatever was due before: the pace may have been lowered.
    mutating func look(at state: QueueState) {
        let now = state.lastEventAt
        guard let next = state.nextRelease(after: now) else { return self = ReleaseLag() }
        if due == nil || next > now { due = next }
    }

    /// Somebody was released `count` times at `moment`, after which the queue is as `state`.
    ///
    /// - Returns: how late each of them was.
    mutating func released(_ count: Int, at moment: Timestamp, state: QueueState) -> [Timestamp.Span] {
        let first = min(due ?? moment, moment)
        let interval = state.releaseInterval?.microseconds ?? 0
        let late = (moment - first).microseconds
        let lags = (0..<Int64(count)).map { number in
            Timestamp.Span(microseconds: setBack.microseconds + max(0, late - number * interval))
        }
        let caughtUp = max(interval, QueueState.releaseCatchUp.microseconds)
        setBack.microseconds += max(0, late + interval - caughtUp)
        due = nil
        if let next = state.nextRelease(after: moment) { due = next } else { self = ReleaseLag() }
        return lags
    }
}

/// Admissions of people who only poll here, until each has been told: a bounded number of them.
struct UntoldAdmissions {
    private static let limit = 10_000
    private var moments: [Ticket: Timestamp] = [:]

    var count: Int { moments.count }

    /// Somebody who only polls was admitted at `moment`.
    mutating func add(_ ticket: Ticket, at moment: Timestamp) {
        if moments.count < UntoldAdmissions.limit { moments[ticket] = moment }
    }

    /// They have been told, or it is over.
    mutating func remove(_ ticket: Ticket) -> Timestamp? { moments.removeValue(forKey: ticket) }

    /// What has happened: an admission that ends is not told any more.
    mutating func note(_ event: QueueEvent, onlyPolls: (Ticket) -> Bool) {
        switch event.change {
        case .admitted(let ticket, _): if onlyPolls(ticket) { add(ticket, at: event.at) }
        case .completed(let ticket), .left(let ticket), .expired(let ticket, _): moments[ticket] = nil
        case .closed: moments = [:]
        default: break
        }
    }
}
