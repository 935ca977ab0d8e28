import HashTreeCollections

/// Where a session stands.
public enum Standing: Sendable, Hashable {
    case waiting(position: Int, isPresent: Bool)
    case admitted(until: Timestamp)
    /// Completed, left or expired, or never here.
    case gone
}

extension QueueState {
    /// How many wait, in all lanes, present or not.
    public var waitingCount: Int { lanes.reduce(0) { $0 + $1.waiting.count } }
    /// How many of them are out of sight.
    public var absentCount: Int { lanes.reduce(0) { $0 + $1.absent.count } }
    /// How many more may be admitted before the cap.
    public var room: Int { max(0, configuration.maxConcurrentUsers - admitted.count) }
    public var laneCount: Int { lanes.count }
    /// Whether anybody waits or is admitted.
    public var isOccupied: Bool { !admitted.isEmpty || waitingCount > 0 }

    /// Whether somebody could be released as of the last event, but for the pace.
    var canRelease: Bool { canRelease(at: lastEventAt) }

    /// The same at `now`, which is not before it.
    func canRelease(at now: Timestamp) -> Bool {
        mayRelease && (losses.isEmpty || next(at: now).map { !isAbsent($0) } ?? false)
    }

    /// The same where nobody is waited for.
    private var mayRelease: Bool {
        status == .open && room > 0 && configuration.releaseRatePerMinute > 0 && waitingCount > absentCount
    }

    /// When the queue opens by itself; nil where it is not scheduled. Without a moment it opens at once.
    var opensAt: Timestamp? { status == .scheduled && head > 0 ? configuration.opensAt ?? lastEventAt : nil }

    public func isWaiting(_ ticket: Ticket) -> Bool {
        ticket.lane < lanes.count && lanes[ticket.lane].waiting.contains(ticket.number)
    }

    public func isAbsent(_ ticket: Ticket) -> Bool {
        ticket.lane < lanes.count && lanes[ticket.lane].absent.contains(ticket.number)
    }

    /// Since when the ticket is out of sight; nil where it is not.
    func absence(of ticket: Ticket) -> Timestamp? { isAbsent(ticket) ? absentSince[ticket] ?? unseenSince : nil }

    public func standing(_ ticket: Ticket) -> Standing {
        if let position = position(ticket) { return .waiting(position: position, isPresent: !isAbsent(ticket)) }
        if let until = admitted[ticket] { return .admitted(until: until) }
        return .gone
    }

    /// The place in line, 1 is next; nil for who does not wait.
    public func position(_ ticket: Ticket) -> Int? {
        guard isWaiting(ticket) else { return nil }
        return position(lane: ticket.lane, rank: lanes[ticket.lane].waiting.rank(ticket.number))
    }

    /// The place of whoever has `rank` people of the lane in front.
    public func position(lane: Int, rank: Int) -> Int {
        var position = rank + 1
        if lanes.count > 1 {
            for other in lanes.indices where other != lane {
                position += schedule.ahead(of: lane, rank: rank, from: other, lanes)
            }
        }
        return position
    }

    /// Whether anybody of another lane stands in front: only then can the place be worse than it was at some time before.
    public func isBehindAnotherLane(_ ticket: Ticket) -> Bool {
        guard lanes.count > 1, let position = position(ticket) else { return false }
        return position > lanes[ticket.lane].waiting.rank(ticket.number) + 1
    }

    /// The ticket that has `index` waiting ones of its lane in front.
    public func waiting(lane: Int, at index: Int) -> Ticket? {
        guard lane < lanes.count else { return nil }
        return lanes[lane].waiting.select(index).map { Ticket(lane: lane, number: $0) }
    }

    /// When time alone will next change something; nil: never. May be in the past.
    public func nextWake(after now: Timestamp) -> Timestamp? {
        var moments: [Timestamp] = []
        if let opensAt { moments.append(opensAt) }
        if status != .closed, let closesAt = configuration.closesAt { moments.append(closesAt) }
        if let expiry = nextExpiry { moments.append(expiry.at) }
        if let deadline = deadlines.first { moments.append(deadline.at) }
        if let moment = nextMove(after: max(now, lastEventAt)) { moments.append(moment) }
        return moments.min()
    }

    /// When somebody will be released, or the line stops waiting for whom it waits for.
    private func nextMove(after now: Timestamp) -> Timestamp? {
        guard mayRelease, let ticket = next(at: now) else { return nil }
        return isAbsent(ticket) ? settles(ticket) : pacing(at: now).nextDue(rate: configuration.releaseRatePerMinute, after: now)
    }
}

extension QueueState {
    /// The number that the next one to join the lane gets: smaller ones have been given out.
    public func nextNumber(lane: Int) -> UInt64 { lane < lanes.count ? lanes[lane].next : 1 }
    /// How many have joined since the queue was made.
    public var joinedCount: UInt64 { lanes.reduce(0) { $0 + $1.next - 1 } }
}
