/// People who were lost from sight together, through no doing of theirs: an instance died, was restarted or was drained.
///
/// Until `until` the line waits for them: nobody is admitted ahead of one of them. A ticket belongs to a loss when its
/// absence began at `since`.
public struct Loss: Sendable, Hashable, Codable {
    /// When they were lost: the time of the first event that says so, which is no other event's before it.
    public let since: Timestamp
    public let until: Timestamp

    /// How many are remembered at once. The line does not wait for those of older ones any longer.
    static let limit = 128
    /// Who is lost within this time of the first, to be waited for as long, counts as lost with the first: a drain brings
    /// an event with each commit, and a loss each would be too many.
    static let together = Timestamp.Span.seconds(1)
}

extension QueueState {
    /// The line waits until `until` for the people whom an event at `since` has lost.
    mutating func remember(_ loss: Loss) {
        if let index = losses.firstIndex(where: { $0.since == loss.since }) {
            losses[index] = Loss(since: loss.since, until: max(losses[index].until, loss.until))
        } else {
            losses.append(loss)
        }
        guard losses.count > Loss.limit, let oldest = losses.first else { return }
        forgetLosses { $0 == oldest }
    }

    /// Whether the line waits for those who are absent since then.
    func isLoss(since moment: Timestamp) -> Bool { losses.contains { $0.since == moment } }

    /// Forgets the losses that the line has waited for long enough by `moment`.
    mutating func forgetLosses(at moment: Timestamp) {
        if losses.contains(where: { $0.until <= moment }) { forgetLosses { $0.until <= moment } }
    }

    private mutating func forgetLosses(where isOver: (Loss) -> Bool) {
        losses.removeAll(where: isOver)
        let left = Set(losses.map(\.since))
        absences.settle { left.contains($0) }
        for lane in lanes.indices { lanes[lane].settling = stillSettling(lane, losses) }
    }

    /// Those of a lane whom one of `losses` concerns.
    private func stillSettling(_ lane: Int, _ losses: [Loss]) -> TicketSet {
        guard !losses.isEmpty else { return TicketSet() }
        var settling = lanes[lane].settling
        lanes[lane].settling.forEach { number in
            let since = absence(of: Ticket(lane: lane, number: number))
            if !losses.contains(where: { $0.since == since }) { settling.remove(number) }
        }
        return settling
    }

    /// The first of a lane whom the line waits for at `moment`; nil where it waits for nobody.
    func firstSettling(in lane: Int, at moment: Timestamp) -> UInt64? {
        guard !lanes[lane].settling.isEmpty, losses.contains(where: { $0.until > moment }) else { return nil }
        if losses.allSatisfy({ $0.until > moment }) { return lanes[lane].settling.select(0) }
        let current = Set(losses.lazy.filter { $0.until > moment }.map(\.since))
        return lanes[lane].settling.first { number in
            absence(of: Ticket(lane: lane, number: number)).map(current.contains) ?? false
        }
    }

    /// The first thousand of a lane whom the line waits for, and until when; the next one stands for all the rest, with the
    /// latest end.
    private func firstThousandSettling(in lane: Int) -> [(number: UInt64, until: Timestamp)] {
        guard !lanes[lane].settling.isEmpty, let last = losses.map(\.until).max() else { return [] }
        let ends = Dictionary(losses.map { ($0.since, $0.until) }, uniquingKeysWith: max)
        var found: [(number: UInt64, until: Timestamp)] = []
        _ = lanes[lane].settling.first { number in
            let isBeyond = found.count == QueueState.settlingLimit
            found.append((number, isBeyond ? last : absence(of: Ticket(lane: lane, number: number)).flatMap { ends[$0] } ?? .distantPast))
            return isBeyond
        }
        return found
    }

    /// How many of a lane are looked at to estimate when the line stops waiting, which every display asks.
    private static let settlingLimit = 1_000

    /// When the line, which waits for somebody at `now`, stops waiting; nil where it does not wait. Where it waits for more than a
    /// thousand of a lane that may be earlier.
    func settlingEnds(after now: Timestamp) -> Timestamp? {
        guard !losses.isEmpty, let ticket = next(at: now), isAbsent(ticket) else { return nil }
        let ends = Set(losses.map(\.until)).filter { $0 > now }.sorted()
        guard ends.count > 1 else { return ends.first }
        // Behind those of one loss those of another may be waited for.
        let settling = lanes.indices.map { firstThousandSettling(in: $0) }
        func isOver(_ end: Timestamp) -> Bool {
            next { lane in settling[lane].first { $0.until > end }?.number }.map { !isAbsent($0) } ?? false
        }
        return ends.dropLast().first(where: isOver) ?? ends.last
    }

    /// The loss that somebody who is lost at `moment`, to be waited for until `until`, belongs to.
    func loss(at moment: Timestamp, until: Timestamp) -> Loss {
        losses.last { $0.until == until && $0.since != unseenSince && $0.since <= moment && moment - $0.since < Loss.together }
            ?? Loss(since: moment, until: until)
    }

    /// When those who are absent since `since` lose their places: after the grace period, and not while the line waits for
    /// them.
    private func expiry(ofAbsenceSince since: Timestamp) -> Timestamp {
        // While no instance was there nobody could come back.
        let grace = max(since, unseenSince ?? since) + .seconds(configuration.graceSeconds)
        return losses.first { $0.since == since }.map { max(grace, $0.until) } ?? grace
    }

    /// Who of the absent loses the place next, and when.
    var nextExpiry: (ticket: Ticket, at: Timestamp)? { absences.next { expiry(ofAbsenceSince: $0) } }

    /// When the line stopped waiting for somebody ahead of those who are there, if that has happened since the last event
    /// and not later than `now`.
    func settled(by now: Timestamp) -> Timestamp? {
        guard !losses.isEmpty, !canRelease else { return nil }
        return losses.map(\.until).filter { $0 > lastEventAt && $0 <= now }.sorted().first { canRelease(at: $0) }
    }

    /// The pace as of `now`: the time during which the line waited for somebody is not caught up on.
    func pacing(at now: Timestamp) -> Pacing {
        guard let since = settled(by: now) else { return pacing }
        var pacing = pacing
        pacing.becamePossible(rate: configuration.releaseRatePerMinute, at: since)
        return pacing
    }

    /// Until when the line waits for this one.
    func settles(_ ticket: Ticket) -> Timestamp? {
        let since = absence(of: ticket)
        return losses.first { $0.since == since }?.until
    }
}
