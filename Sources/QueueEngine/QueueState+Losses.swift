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

    /// Those whom the line waits for at `moment`, by lane; nil where it waits for nobody.
    func settling(at moment: Timestamp) -> [TicketSet]? {
        let current = losses.filter { $0.until > moment }
        if current.isEmpty { return nil }
        let settling =
            current.count == losses.count ? lanes.map(\.settling) : lanes.indices.map { stillSettling($0, current) }
        return settling.allSatisfy(\.isEmpty) ? nil : settling
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
