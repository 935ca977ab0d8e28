import HeapModule
import QueueEngine

/// One queue's line as its log alone tells it, checked event by event. Written apart from the engine, and plainly.
struct Line {
    struct Absence: Comparable {
        let since: Timestamp
        let ticket: Ticket
        static func < (a: Absence, b: Absence) -> Bool { (a.since, a.ticket) < (b.since, b.ticket) }
    }

    struct Lane {
        /// Numbers that were present at some time; one that has gone is skipped when it comes up.
        var present = Heap<UInt64>()
        /// The same of those for whom the line waits.
        var settling = Heap<UInt64>()
        var presentCount = 0
        var next: UInt64 = 1
    }

    private(set) var configuration = QueueConfiguration()
    private(set) var status = QueueStatus.scheduled
    private(set) var head: UInt64 = 0
    private(set) var lastEventAt = Timestamp.distantPast
    private(set) var configuredAt = Timestamp.distantPast
    private(set) var lanes = [Lane()]
    /// When those who wait were last said to be present, by joining or coming back.
    private var seenAt: [Ticket: Timestamp] = [:]
    /// Until when the line waits for people whom a restart has disconnected.
    private var settling: [Ticket: Timestamp] = [:]
    /// When the first of those waits is over, or earlier.
    private var firstSettlingEnd: Timestamp?
    /// Who is absent since an event of their own, and not since nobody was in sight.
    private var goneAlone: Set<Ticket> = []
    /// Who waits, and since when they are absent.
    private(set) var waiting: [Ticket: Timestamp?] = [:]
    private(set) var admitted: [Ticket: Timestamp] = [:]
    private(set) var pace = Pace()
    private var fairness = LaneFairness()
    /// What ends by itself, the earliest first; entries whose subject has moved on are skipped.
    private var deadlines = Heap<Absence>()
    private var absences = Heap<Absence>()
    private var problems: [(Finding.Kind, String)] = []

    /// When an admission became possible but for the pace; nil: it is not.
    private(set) var possibleSince: Timestamp?

    var presentCount: Int { lanes.reduce(0) { $0 + $1.presentCount } }
    var isEmpty: Bool { waiting.isEmpty && admitted.isEmpty }

    /// Takes the next event, and says what is wrong with it.
    mutating func apply(_ event: QueueEvent) -> [(Finding.Kind, String)] {
        problems = []
        if event.seq != head + 1 { report(.log, "seq \(event.seq) after \(head)") }
        if event.at < lastEventAt { report(.log, "time runs backwards at seq \(event.seq)") }
        (head, lastEventAt) = (event.seq, event.at)
        // Nobody could come back while no instance was there.
        if event.change != .everyoneDisconnected { forgetWaits(at: event.at) }
        change(event)
        updatePossible(event.at)
        return problems
    }

    private mutating func report(_ kind: Finding.Kind, _ text: String) { problems.append((kind, text)) }

    private mutating func updatePossible(_ moment: Timestamp) {
        let isPossible =
            status == .open && configuration.releaseRatePerMinute > 0 && admitted.count < configuration.maxConcurrentUsers
            && presentCount > 0
        if !isPossible { possibleSince = nil } else if possibleSince == nil { possibleSince = moment }
    }

    private mutating func change(_ event: QueueEvent) {
        let moment = event.at
        switch event.change {
        case .configured(let new): configure(new, moment)
        case .opened, .resumed: status = .open
        case .paused: status = .paused
        case .closed: close()
        case .joined(let ticket): join(ticket, moment)
        case .connected(let arrivals): for range in arrivals.map(\.range) { range.tickets.forEach { markPresent($0, moment) } }
        case .disconnected(let ranges): markGone(ranges) { $0.markAbsent($1, moment) }
        case .lost(let ranges, let since, let until): markGone(ranges) { $0.lose($1, until: until, since) }
        case .everyoneDisconnected:
            let until = max(moment + .seconds(configuration.settleSeconds), settling.values.max() ?? moment)
            for ticket in waiting.keys.sorted() {
                let isWaitedFor = settling[ticket] != nil
                // Whoever had gone before has a whole grace period, and holds nobody up.
                if goneAlone.contains(ticket), !isWaitedFor { markAbsent(ticket, moment) } else { lose(ticket, until: until, moment) }
            }
        case .admitted(let ticket, let until): admit(ticket, until, moment)
        case .completed(let ticket):
            if admitted.removeValue(forKey: ticket) == nil { report(.state, "\(ticket) completed without an admission") }
        case .left(let ticket): if !end(ticket) { report(.state, "\(ticket) left and was not there") }
        case .expired(let ticket, let reason): expire(ticket, reason, moment)
        default: break
        }
    }

    private mutating func configure(_ new: QueueConfiguration, _ moment: Timestamp) {
        configuration = new
        configuredAt = moment
        fairness.restart(new)
        while lanes.count <= new.priorityLanes.count { lanes.append(Lane()) }
    }

    private mutating func close() {
        status = .closed
        for (ticket, since) in waiting where since == nil { lanes[ticket.lane].presentCount -= 1 }
        waiting = [:]
        seenAt = [:]
        settling = [:]
        goneAlone = []
    }

    private mutating func join(_ ticket: Ticket, _ moment: Timestamp) {
        if status == .closed { report(.state, "\(ticket) joined a closed queue") }
        guard ticket.lane < lanes.count, ticket.number == lanes[ticket.lane].next else {
            return report(.order, "ticket \(ticket) is not the next of its lane")
        }
        lanes[ticket.lane].next += 1
        waiting[ticket] = .some(nil)
        seenAt[ticket] = moment
        lanes[ticket.lane].presentCount += 1
        lanes[ticket.lane].present.insert(ticket.number)
    }

    private mutating func markPresent(_ ticket: Ticket, _ moment: Timestamp) {
        guard let since = waiting[ticket] else { return }
        seenAt[ticket] = moment
        settling[ticket] = nil
        goneAlone.remove(ticket)
        guard since != nil else { return }
        waiting[ticket] = .some(nil)
        lanes[ticket.lane].presentCount += 1
        lanes[ticket.lane].present.insert(ticket.number)
    }

    private mutating func markGone(_ ranges: [TicketRange], _ mark: (inout Line, Ticket) -> Void) {
        for ticket in ranges.flatMap({ Array($0.tickets) }) where waiting[ticket] != nil {
            goneAlone.insert(ticket)
            mark(&self, ticket)
        }
    }

    private mutating func markAbsent(_ ticket: Ticket, _ moment: Timestamp) {
        guard let since = waiting[ticket] else { return }
        if since == nil { lanes[ticket.lane].presentCount -= 1 }
        waiting[ticket] = .some(moment)
        absences.insert(Absence(since: moment, ticket: ticket))
    }

    /// When the ticket's visitor came last; nil for whoever does not wait.
    func lastSeen(_ ticket: Ticket) -> Timestamp? { seenAt[ticket] }

    /// A process has gone, or is about to: the line waits for whoever it saw.
    private mutating func lose(_ ticket: Ticket, until: Timestamp, _ moment: Timestamp) {
        guard waiting[ticket] != nil else { return }
        markAbsent(ticket, moment)
        settling[ticket] = until
        firstSettlingEnd = min(firstSettlingEnd ?? until, until)
        lanes[ticket.lane].settling.insert(ticket.number)
    }

    private mutating func forgetWaits(at moment: Timestamp) {
        guard let first = firstSettlingEnd, first <= moment else { return }
        settling = settling.filter { $0.value > moment }
        firstSettlingEnd = settling.values.min()
    }

    /// The first of a lane for whom the line waits.
    private mutating func firstSettling(_ lane: Int) -> UInt64? {
        while let number = lanes[lane].settling.min {
            if settling[Ticket(lane: lane, number: number)] != nil { return number }
            lanes[lane].settling.removeMin()
        }
        return nil
    }

    private mutating func end(_ ticket: Ticket) -> Bool {
        seenAt[ticket] = nil
        settling[ticket] = nil
        goneAlone.remove(ticket)
        guard let since = waiting.removeValue(forKey: ticket) else { return admitted.removeValue(forKey: ticket) != nil }
        if since == nil { lanes[ticket.lane].presentCount -= 1 }
        return true
    }

    private mutating func expire(_ ticket: Ticket, _ reason: ExpiryReason, _ moment: Timestamp) {
        switch reason {
        case .grace:
            let since = waiting[ticket] ?? nil
            if since.map({ $0 + .seconds(configuration.graceSeconds) <= moment }) != true {
                report(.state, "\(ticket) expired within the grace period")
            }
        case .admission:
            if admitted[ticket].map({ $0 <= moment }) != true { report(.state, "the admission of \(ticket) expired early") }
        default: break
        }
        if !end(ticket) { report(.state, "\(ticket) expired and was not there") }
    }

    // MARK: Admissions

    private mutating func admit(_ ticket: Ticket, _ until: Timestamp, _ moment: Timestamp) {
        if status != .open { report(.state, "\(ticket) was admitted while the queue was \(status)") }
        guard let since = waiting[ticket] else { return report(.state, "\(ticket) was admitted and did not wait") }
        if since != nil { report(.order, "\(ticket) was admitted while absent") }
        let first = firstPresent(ticket.lane)
        if let first, first != ticket.number { report(.order, "\(ticket) was admitted before \(first) of its lane") }
        if let lost = firstSettling(ticket.lane), lost < ticket.number {
            report(.order, "\(ticket) was admitted while the line waits for \(lost) of its lane")
        }
        if let text = fairness.admitted(ticket.lane, present: lanes.map(\.presentCount)) { report(.fairness, text) }
        _ = end(ticket)
        admitted[ticket] = until
        deadlines.insert(Absence(since: until, ticket: ticket))
        if admitted.count > configuration.maxConcurrentUsers {
            report(.cap, "\(admitted.count) inside of \(configuration.maxConcurrentUsers)")
        }
        if let text = pace.admitted(at: moment, rate: configuration.releaseRatePerMinute) { report(.rate, text) }
    }

    private mutating func firstPresent(_ lane: Int) -> UInt64? {
        while let number = lanes[lane].present.min {
            if let since = waiting[Ticket(lane: lane, number: number)], since == nil { return number }
            lanes[lane].present.removeMin()
        }
        return nil
    }

    // MARK: What is due

    /// The earliest moment at which time alone must bring something; nil: never. An admission may be later than this where
    /// the rate was changed a moment ago.
    mutating func nextDue() -> (at: Timestamp, what: String)? {
        var due: [(at: Timestamp, what: String)] = []
        if status == .scheduled { due.append((max(configuration.opensAt ?? configuredAt, configuredAt), "opening")) }
        if status != .closed, let closesAt = configuration.closesAt { due.append((max(closesAt, configuredAt), "closing")) }
        while let first = deadlines.min, admitted[first.ticket] != first.since { deadlines.removeMin() }
        if let first = deadlines.min { due.append((first.since, "the end of an admission")) }
        while let first = absences.min, waiting[first.ticket].map({ $0 != first.since }) ?? true { absences.removeMin() }
        if let first = absences.min {
            due.append((max(first.since + .seconds(configuration.graceSeconds), configuredAt), "the end of a grace period"))
        }
        if let possibleSince {
            let rate = configuration.releaseRatePerMinute
            var moment = pace.nextDue(rate: rate, possibleSince: max(possibleSince, configuredAt, settling.values.max() ?? possibleSince))
            // The pace goes on from where another rate has left it.
            if pace.last.map({ $0 < configuredAt }) ?? false { moment = max(moment, configuredAt + .milliseconds(60_000 / rate + 1)) }
            due.append((moment, "an admission, possible since \(possibleSince.seconds), \(settling.count) awaited,"))
        }
        return due.min { $0.at < $1.at }
    }
}
