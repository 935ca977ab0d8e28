public import HashTreeCollections

/// A queue's line: what its log makes of an empty one. A value; copies share storage until one of them changes.
///
/// It changes by `apply` alone. `QueueState+Commands` decides which events a command or the passing of time brings;
/// `QueueState+Queries` answers questions. Nothing here reads a clock: every moment is given.
public struct QueueState: Sendable {
    public internal(set) var configuration: QueueConfiguration
    public internal(set) var status: QueueStatus
    /// The number of the last event applied; 0 before the first.
    public internal(set) var head: UInt64 = 0
    /// The time of the last event applied: the queue's own time, which never runs backwards.
    public internal(set) var lastEventAt = Timestamp.distantPast
    /// Who was admitted and has neither completed, left nor expired, and until when the admission can be used.
    public internal(set) var admitted = TreeDictionary<Ticket, Timestamp>()

    var lanes: [Lane]
    var schedule: LaneSchedule
    var pacing = Pacing()
    var meter = DrainMeter()
    /// Of whom the line waits for, the oldest loss first.
    var losses: [Loss] = []
    /// When the queue was made: since when its meter has counted.
    var watchedSince = Timestamp.distantPast
    /// When everyone who waited was out of sight last.
    var unseenSince: Timestamp?
    /// Since when somebody who waits is out of sight, where that is not since then: they went before, or have been back.
    var absentSince = TreeDictionary<Ticket, Timestamp>()

    // Indexes over the above, by due time. An entry whose subject has moved on is skipped when its time comes.
    var absences = AbsenceIndex()
    var deadlines = DueList<Deadline>()

    struct Deadline: Sendable, Comparable {
        let at: Timestamp
        let ticket: Ticket
        static func < (a: Deadline, b: Deadline) -> Bool { (a.at, a.ticket) < (b.at, b.ticket) }
    }

    /// A queue before its first event.
    public init(_ configuration: QueueConfiguration = QueueConfiguration()) {
        self.configuration = configuration
        status = .scheduled
        schedule = LaneSchedule(configuration.priorityLanes)
        lanes = Array(repeating: Lane(), count: schedule.laneCount)
    }

    // MARK: Applying

    /// Takes the next event of the log. Events out of order are a bug of the caller and trap.
    public mutating func apply(_ event: QueueEvent) {
        precondition(event.seq == head + 1, "event \(event.seq) does not follow \(head)")
        precondition(event.at >= lastEventAt, "time runs backwards in the log")
        // Nobody could come back while no instance was there: the line waits once more for losses that no other event has ended.
        if event.change != .everyoneDisconnected {
            if let since = settled(by: event.at) { pacing.becamePossible(rate: configuration.releaseRatePerMinute, at: since) }
            forgetLosses(at: event.at)
        }
        let couldRelease = canRelease
        if head == 0 { watchedSince = event.at }
        head = event.seq
        lastEventAt = event.at
        change(event)
        skipWhatHasMovedOn()
        if !couldRelease, canRelease { pacing.becamePossible(rate: configuration.releaseRatePerMinute, at: event.at) }
    }

    private mutating func change(_ event: QueueEvent) {
        switch event.change {
        case .configured(let new): configure(new)
        case .opened, .resumed: status = .open
        case .paused: status = .paused
        case .closed: close(at: event.at)
        case .joined(let ticket): join(ticket)
        case .connected(let arrivals): for arrival in arrivals { arrival.range.tickets.forEach { markPresent($0) } }
        case .disconnected(let ranges): disconnect(ranges, at: event.at)
        case .lost(let ranges, let since, let until):
            remember(Loss(since: since, until: until))
            disconnect(ranges, at: since)
        case .everyoneDisconnected: disconnectEveryone(at: event.at)
        case .admitted(let ticket, let until): admit(ticket, until: until, at: event.at)
        case .completed(let ticket): endAdmission(ticket, at: event.at)
        case .left(let ticket): end(ticket, at: event.at)
        case .expired(let ticket, _): end(ticket, at: event.at)
        case .announced: break
        }
    }

    private mutating func configure(_ new: QueueConfiguration) {
        configuration = new
        let (old, turn) = (schedule, currentPass)
        schedule = LaneSchedule(new.priorityLanes)
        while lanes.count < schedule.laneCount { lanes.append(Lane()) }
        for lane in lanes.indices where schedule.isShared(lane) {
            // A lane that had no share has no claim on turns that have passed; one whose share changes is as many of its
            // own turns ahead as before.
            let ahead = old.isShared(lane) && lane < old.laneCount ? max(0, lanes[lane].pass - turn) : 0
            lanes[lane].pass = turn + (ahead == 0 ? 0 : ahead * schedule.stride(lane) / old.stride(lane))
        }
    }

    private mutating func join(_ ticket: Ticket) {
        precondition(ticket.lane < lanes.count && ticket.number == lanes[ticket.lane].next, "tickets are consecutive")
        lanes[ticket.lane].next += 1
        lanes[ticket.lane].waiting.insert(ticket.number)
    }

    /// The smallest turn that a lane with a share has a claim to; where none has, the largest, so that all begin anew together.
    private var currentPass: Int64 {
        let shared = lanes.indices.filter { schedule.isShared($0) }
        return shared.filter { lanes[$0].isActive }.map { lanes[$0].pass }.min() ?? shared.map { lanes[$0].pass }.max() ?? 0
    }

    /// Drops deadlines and absences whose subjects have moved on, so that the first of each is always one to come.
    private mutating func skipWhatHasMovedOn() {
        while let deadline = deadlines.first, admitted[deadline.ticket] != deadline.at { deadlines.removeFirst() }
        // Taken out meanwhile: the rest of the state says who is skipped.
        var index = AbsenceIndex()
        swap(&index, &absences)
        index.skip { ticket, since in absence(of: ticket) != since }
        absences = index
    }

    mutating func markPresent(_ ticket: Ticket) {
        guard ticket.lane < lanes.count, lanes[ticket.lane].absent.remove(ticket.number) else { return }
        lanes[ticket.lane].settling.remove(ticket.number)
        absentSince[ticket] = nil
    }

    private mutating func disconnect(_ ranges: [TicketRange], at moment: Timestamp) {
        for range in ranges {
            for ticket in range.tickets where isWaiting(ticket) { markAbsent(ticket, since: moment) }
        }
        absences.insert(Absence(since: moment, ranges: ranges), isLoss: isLoss(since: moment))
    }

    mutating func markAbsent(_ ticket: Ticket, since moment: Timestamp) {
        lanes[ticket.lane].absent.insert(ticket.number)
        absentSince[ticket] = moment == unseenSince ? nil : moment
        if isLoss(since: moment) { lanes[ticket.lane].settling.insert(ticket.number) }
    }

    /// Costs nothing for each of those who were there: they may be a million. Nothing tells them from those who have not been back
    /// since the last such moment, so the line waits for all of these.
    private mutating func disconnectEveryone(at moment: Timestamp) {
        for index in lanes.indices {
            lanes[index].absent = lanes[index].waiting
            lanes[index].settling = lanes[index].waiting
        }
        // Whoever had gone before, and was not waited for, holds nobody up.
        for (ticket, since) in absentSince where !isLoss(since: since) {
            lanes[ticket.lane].settling.remove(ticket.number)
        }
        if let unseenSince { absences.removeAll(since: unseenSince) }
        absences.insert(Absence(since: moment, ranges: lanes.indices.compactMap { lanes[$0].span(lane: $0) }), isLoss: true)
        // Where reconnect moments were dealt before, the line waits for as long as those last.
        let dealt = losses.map(\.until).max() ?? moment
        let until = max(dealt, moment + .seconds(configuration.settleSeconds))
        losses = losses.filter { $0.since != unseenSince }.map { Loss(since: $0.since, until: until) }
        unseenSince = moment
        remember(Loss(since: moment, until: until))
    }

    private mutating func admit(_ ticket: Ticket, until: Timestamp, at moment: Timestamp) {
        precondition(isWaiting(ticket), "only who waits is admitted")
        takeTurn(ticket.lane)
        stopWaiting(ticket)
        admitted[ticket] = until
        deadlines.insert(Deadline(at: until, ticket: ticket))
        pacing.released(rate: configuration.releaseRatePerMinute, at: moment)
        meter.count(.admission, at: moment)
    }

    /// A lane in which nobody could be admitted has no claim on this turn any more; the others are not behind it. A lane that
    /// empties and fills again between two turns loses none.
    private mutating func takeTurn(_ own: Int) {
        guard schedule.isShared(own) else { return }
        let turn = lanes[own].pass
        lanes[own].pass += schedule.stride(own)
        for lane in lanes.indices where schedule.isShared(lane) { lanes[lane].pass = max(lanes[lane].pass, turn) }
    }

    private mutating func endAdmission(_ ticket: Ticket, at moment: Timestamp) {
        let known = admitted.removeValue(forKey: ticket)
        precondition(known != nil, "only who is admitted completes")
        meter.count(.turnover, at: moment)
    }

    private mutating func end(_ ticket: Ticket, at moment: Timestamp) {
        if isWaiting(ticket) {
            stopWaiting(ticket)
            meter.count(.departure, at: moment)
        } else {
            endAdmission(ticket, at: moment)
        }
    }

    private mutating func stopWaiting(_ ticket: Ticket) {
        markPresent(ticket)
        lanes[ticket.lane].waiting.remove(ticket.number)
    }

    private mutating func close(at moment: Timestamp) {
        status = .closed
        for index in lanes.indices {
            lanes[index].waiting = TicketSet()
            lanes[index].absent = TicketSet()
            lanes[index].settling = TicketSet()
        }
        (absentSince, losses) = ([:], [])
        absences = AbsenceIndex()
    }
}

extension QueueState: Equatable {
    /// Field by field, but for indexes that follow from the fields and for what has fallen out of every window.
    public static func == (a: QueueState, b: QueueState) -> Bool {
        let now = max(a.lastEventAt, b.lastEventAt)
        var (pacingA, pacingB) = (a.pacing, b.pacing)
        pacingA.forget(at: now)
        pacingB.forget(at: now)
        return a.configuration == b.configuration && a.status == b.status && a.head == b.head
            && a.lastEventAt == b.lastEventAt && a.lanes == b.lanes && a.admitted == b.admitted
            && a.unseenSince == b.unseenSince && a.absentSince == b.absentSince && pacingA == pacingB
            && a.meter.current(at: now) == b.meter.current(at: now) && a.losses == b.losses && a.watchedSince == b.watchedSince
    }
}
