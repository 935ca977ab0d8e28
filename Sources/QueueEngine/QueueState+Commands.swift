import HashTreeCollections

/// Why a command cannot be done. Nothing has changed.
public enum QueueRefusal: Error, Sendable, Hashable {
    /// Takes no joins.
    case closed
    /// `maxWaiting` wait already.
    case full
    /// No such lane.
    case noSuchLane
    /// The session is not in a state in which this can be done.
    case notAdmitted, ended
    /// The queue's status does not allow it.
    case wrongStatus(QueueStatus)
    /// `closesAt` lies in the past and must be set anew first.
    case closesAtHasPassed
    /// A `closesAt` that is set must lie in the future.
    case closesAtIsPast
    /// A queue that is scheduled must open before it closes.
    case closesBeforeOpening
    /// `opensAt` can be set only until the queue has opened.
    case notScheduled
}

/// Commands. Each appends the events that it brings to `log`, already applied, or throws and changes nothing.
extension QueueState {
    private mutating func emit(_ change: QueueEvent.Change, at moment: Timestamp, _ log: inout [QueueEvent]) {
        let event = QueueEvent(seq: head + 1, at: max(moment, lastEventAt), change: change)
        apply(event)
        log.append(event)
    }

    /// Makes the queue, or sets it anew. A new queue without `opensAt` is open at once.
    ///
    /// Times that do not change are not checked: a queue that has opened keeps its `opensAt`, which means nothing any more.
    public mutating func configure(_ new: QueueConfiguration, at now: Timestamp, _ log: inout [QueueEvent]) throws(QueueRefusal) {
        let isNew = head == 0
        try checkTimes(of: new, now)
        emit(.configured(new), at: now, &log)
        if isNew, new.opensAt.map({ $0 <= now }) ?? true { emit(.opened, at: now, &log) }
    }

    private func checkTimes(of new: QueueConfiguration, _ now: Timestamp) throws(QueueRefusal) {
        // A queue has its configuration before its first event; only that event decides it.
        let (opens, closes) = head == 0 ? (true, true) : (new.opensAt != configuration.opensAt, new.closesAt != configuration.closesAt)
        if opens, new.opensAt != nil, status != .scheduled { throw .notScheduled }
        if closes, let closesAt = new.closesAt, closesAt <= now { throw .closesAtIsPast }
        guard opens || closes, status == .scheduled, let opensAt = new.opensAt, let closesAt = new.closesAt else { return }
        if closesAt <= opensAt { throw .closesBeforeOpening }
    }

    public mutating func open(at now: Timestamp, _ log: inout [QueueEvent]) throws(QueueRefusal) {
        switch status {
        case .open: return
        case .scheduled, .closed:
            // Time would close it again at once.
            if let closesAt = configuration.closesAt, closesAt <= now { throw .closesAtHasPassed }
            emit(.opened, at: now, &log)
        case .paused: throw .wrongStatus(status)
        }
    }

    public mutating func pause(at now: Timestamp, _ log: inout [QueueEvent]) throws(QueueRefusal) {
        switch status {
        case .paused: return
        case .open: emit(.paused, at: now, &log)
        case .scheduled, .closed: throw .wrongStatus(status)
        }
    }

    public mutating func resume(at now: Timestamp, _ log: inout [QueueEvent]) throws(QueueRefusal) {
        switch status {
        case .open: return
        case .paused: emit(.resumed, at: now, &log)
        case .scheduled, .closed: throw .wrongStatus(status)
        }
    }

    /// Closes; everyone who waits is sent away.
    public mutating func close(at now: Timestamp, _ log: inout [QueueEvent]) {
        if status != .closed { emit(.closed, at: now, &log) }
    }

    /// Takes the next ticket of a lane.
    public mutating func join(lane: Int, at now: Timestamp, _ log: inout [QueueEvent]) throws(QueueRefusal) -> Ticket {
        guard lane < schedule.laneCount else { throw .noSuchLane }
        guard status != .closed else { throw .closed }
        if let maxWaiting = configuration.maxWaiting, waitingCount >= maxWaiting { throw .full }
        let ticket = Ticket(lane: lane, number: lanes[lane].next)
        emit(.joined(ticket), at: now, &log)
        return ticket
    }

    /// Who came back into sight. Tickets that do not wait are passed over; who was in sight already is told of only where
    /// `anew` is set: when it is somebody else who sees them from now on.
    ///
    /// - Parameter tickets: each once, and when its visitor came; see `Arrival`.
    public mutating func connect(
        _ tickets: [(ticket: Ticket, since: Timestamp)], anew: Bool = false, at now: Timestamp, _ log: inout [QueueEvent]
    ) {
        let back = Arrival.covering(tickets.filter { isAbsent($0.ticket) || anew && isWaiting($0.ticket) })
        if !back.isEmpty { emit(.connected(back), at: now, &log) }
    }

    /// The same of people who came over no new connection.
    public mutating func connect(_ tickets: some Sequence<Ticket>, anew: Bool = false, at now: Timestamp, _ log: inout [QueueEvent]) {
        let back = TicketRange.covering(tickets.filter { isAbsent($0) || anew && isWaiting($0) })
        if !back.isEmpty { emit(.connected(back.map { Arrival($0, since: .distantPast) }), at: now, &log) }
    }

    /// Who went out of sight. Tickets that do not wait, or are out of sight already, are passed over.
    public mutating func disconnect(_ tickets: some Sequence<Ticket>, at now: Timestamp, _ log: inout [QueueEvent]) {
        let gone = TicketRange.covering(tickets.filter { isWaiting($0) && !isAbsent($0) })
        guard !gone.isEmpty else { return }
        // Not at the moment of a loss: whoever is absent since then counts as lost.
        let moment = max(now, lastEventAt)
        let isLoss = moment == unseenSince || losses.contains { $0.since == moment }
        emit(.disconnected(gone), at: isLoss ? moment + Timestamp.Span(microseconds: 1) : moment, &log)
    }

    /// Who went out of sight with the instance that saw them. The line waits for them until `until`.
    ///
    /// - Returns: nothing is lost where they do not wait, or are out of sight already.
    public mutating func lose(_ tickets: some Sequence<Ticket>, until: Timestamp, at now: Timestamp, _ log: inout [QueueEvent]) {
        let gone = TicketRange.covering(tickets.filter { isWaiting($0) && !isAbsent($0) })
        guard !gone.isEmpty else { return }
        // A loss has a moment of its own, by which those whom it concerns are told from all others who are absent.
        let moment = max(now, lastEventAt + Timestamp.Span(microseconds: 1))
        // Its own event would end a loss that is over before it begins, and a state rebuilt from rows would know nothing of it.
        guard until > moment else { return disconnect(tickets, at: now, &log) }
        emit(.lost(gone, since: loss(at: moment, until: until).since, until: until), at: moment, &log)
    }

    /// No instance was there, so nobody was in sight, nor could come back: a whole grace period for all who wait.
    public mutating func disconnectEveryone(at now: Timestamp, _ log: inout [QueueEvent]) {
        guard waitingCount > 0 else { return }
        emit(.everyoneDisconnected, at: max(now, lastEventAt + Timestamp.Span(microseconds: 1)), &log)
    }

    /// The person leaves the line, or gives an admission back.
    public mutating func leave(_ ticket: Ticket, at now: Timestamp, _ log: inout [QueueEvent]) throws(QueueRefusal) {
        guard isWaiting(ticket) || admitted[ticket] != nil else { throw .ended }
        emit(.left(ticket), at: now, &log)
    }

    public mutating func complete(_ ticket: Ticket, at now: Timestamp, _ log: inout [QueueEvent]) throws(QueueRefusal) {
        guard admitted[ticket] != nil else { throw isWaiting(ticket) ? .notAdmitted : .ended }
        emit(.completed(ticket), at: now, &log)
    }

    /// Takes somebody out, in line or admitted.
    public mutating func remove(_ ticket: Ticket, at now: Timestamp, _ log: inout [QueueEvent]) throws(QueueRefusal) {
        guard isWaiting(ticket) || admitted[ticket] != nil else { throw .ended }
        emit(.expired(ticket, .removed), at: now, &log)
    }

    public mutating func announce(at now: Timestamp, _ log: inout [QueueEvent]) {
        emit(.announced, at: now, &log)
    }

    /// How many expire, and how many are admitted, at once. Where more are due the rest is due at once again: what is asked
    /// meanwhile comes between, and no store is given more than it can take in a moment.
    public static let expiriesAtOnce = 2_000
    static let admissionsAtOnce = 2_000

    /// What time alone brings, up to `now`: opening, closing, expiries, releases, in this order.
    public mutating func advance(to now: Timestamp, _ log: inout [QueueEvent]) {
        let now = max(now, lastEventAt)
        if let opensAt, opensAt <= now { emit(.opened, at: now, &log) }
        if status != .closed, let closesAt = configuration.closesAt, closesAt <= now { emit(.closed, at: now, &log) }
        var left = QueueState.expiriesAtOnce
        while left > 0, let deadline = deadlines.first, deadline.at <= now {
            emit(.expired(deadline.ticket, .admission), at: now, &log)
            left -= 1
        }
        while left > 0, let next = nextExpiry, next.at <= now {
            emit(.expired(next.ticket, .grace), at: now, &log)
            left -= 1
        }
        release(now, &log)
    }

    private mutating func release(_ now: Timestamp, _ log: inout [QueueEvent]) {
        guard canRelease(at: now) else { return }
        var places = min(pacing(at: now).due(rate: configuration.releaseRatePerMinute, at: now), room, QueueState.admissionsAtOnce)
        let until = now + .seconds(configuration.admissionTTLSeconds)
        while places > 0, let ticket = next(at: now), !isAbsent(ticket) {
            emit(.admitted(ticket, until: until), at: now, &log)
            places -= 1
        }
    }

    /// Who is next among those in sight and those whom the line waits for.
    func next(at now: Timestamp) -> Ticket? { next { losses.isEmpty ? nil : firstSettling(in: $0, at: now) } }

    /// The same where `settling` tells of each lane the first one whom the line waits for.
    func next(_ settling: (Int) -> UInt64?) -> Ticket? {
        var best: (lane: Int, number: UInt64)?
        for lane in lanes.indices {
            guard let number = lanes[lane].first(or: settling(lane)) else { continue }
            if best.map({ schedule.precedes(lane, $0.lane, lanes) }) ?? true { best = (lane, number) }
        }
        return best.map { Ticket(lane: $0.lane, number: $0.number) }
    }
}
