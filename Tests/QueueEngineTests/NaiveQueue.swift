import QueueEngine

/// The line as one would write it without caring for speed: arrays and searches. What it says is plainly right; the
/// engine must say the same.
struct NaiveQueue {
    struct Person: Equatable {
        let ticket: Ticket
        var absentSince: Timestamp?
    }

    var configuration = QueueConfiguration()
    var status = QueueStatus.scheduled
    var lanes: [[Person]] = []
    var next: [UInt64] = []
    var pass: [Int64] = []
    var admitted: [Ticket: Timestamp] = [:]
    var admissions: [Timestamp] = []
    var head: UInt64 = 0
    var lastEventAt = Timestamp(microseconds: 0)
    var unseenSince: Timestamp?
    /// Since when people are absent whom the line waits for, and until when.
    var losses: [(since: Timestamp, until: Timestamp)] = []

    /// Whether the person has a claim to the next turn: is there, or is waited for.
    private func counts(_ person: Person) -> Bool { person.absentSince.map { since in losses.contains { $0.since == since } } ?? true }
    private func isActive(_ lane: Int) -> Bool { lanes[lane].contains(where: counts) }
    private var shared: [Int] { lanes.indices.filter { stride($0) != nil } }

    /// A lane in which nobody has a claim saves up no turns.
    private mutating func liftIdleLanes(to turn: Int64) {
        for lane in shared where !isActive(lane) { pass[lane] = max(pass[lane], turn) }
    }

    private mutating func configure(_ new: QueueConfiguration) {
        let old = lanes.indices.map { stride($0) }
        let turn = shared.filter(isActive).map { pass[$0] }.min() ?? shared.map { pass[$0] }.max() ?? 0
        configuration = new
        while lanes.count <= new.priorityLanes.count {
            lanes.append([])
            next.append(1)
            pass.append(0)
        }
        for lane in shared {
            guard lane < old.count, let before = old[lane] else {
                pass[lane] = turn
                continue
            }
            pass[lane] = turn + max(0, pass[lane] - turn) * stride(lane)! / before
        }
    }

    private func stride(_ lane: Int) -> Int64? {
        let scale: Int64 = (1 << 20) * 100
        let priority = configuration.priorityLanes
        if lane == 0 {
            let shared = priority.filter { $0.sharePercent < 100 }.reduce(0) { $0 + $1.sharePercent }
            return scale / Int64(max(1, 100 - shared))
        }
        return priority[lane - 1].sharePercent >= 100 ? nil : scale / Int64(priority[lane - 1].sharePercent)
    }

    /// Which of the lanes with somebody in them is next.
    private func nextLane(_ counts: [Int], _ pass: [Int64]) -> Int? {
        let waiting = counts.indices.filter { counts[$0] > 0 }
        let order = { (lane: Int) in lane == 0 ? Int.max : lane }
        if let strict = waiting.filter({ stride($0) == nil }).min(by: { order($0) < order($1) }) { return strict }
        return waiting.min { (pass[$0], order($0)) < (pass[$1], order($1)) }
    }

    /// The order in which everybody would be let in, played through.
    var order: [Ticket] {
        var (rest, pass) = (lanes.map { $0[...] }, pass)
        var order: [Ticket] = []
        while let lane = nextLane(rest.map(\.count), pass) {
            order.append(rest[lane].removeFirst().ticket)
            pass[lane] += stride(lane) ?? 0
        }
        return order
    }

    func person(_ ticket: Ticket) -> Person? { lanes.joined().first { $0.ticket == ticket } }

    /// Applies an event, and says what is wrong with it.
    mutating func apply(_ event: QueueEvent) -> [String] {
        var wrong: [String] = []
        if event.seq != head + 1 { wrong.append("a gap in seq") }
        if event.at < lastEventAt { wrong.append("time runs backwards") }
        (head, lastEventAt) = (event.seq, event.at)
        if event.change != .everyoneDisconnected { losses.removeAll { $0.until <= event.at } }
        switch event.change {
        case .configured(let new): configure(new)
        case .opened, .resumed: status = .open
        case .paused: status = .paused
        case .closed:
            status = .closed
            lanes = lanes.map { _ in [] }
            losses = []
        case .joined(let ticket):
            if ticket.number != next[ticket.lane] { wrong.append("a ticket out of turn") }
            next[ticket.lane] += 1
            lanes[ticket.lane].append(Person(ticket: ticket))
        case .connected(let arrivals): setAbsence(arrivals.map(\.range), nil)
        case .disconnected(let ranges): setAbsence(ranges, event.at)
        case .lost(let ranges, let since, let until):
            if let known = losses.firstIndex(where: { $0.since == since }) {
                losses[known].until = max(losses[known].until, until)
            } else {
                losses.append((since, until))
            }
            setAbsence(ranges, since)
        case .everyoneDisconnected:
            let until = max(losses.map(\.until).max() ?? event.at, event.at + .seconds(configuration.settleSeconds))
            losses = losses.filter { $0.since != unseenSince }.map { ($0.since, until) } + [(event.at, until)]
            for lane in lanes.indices {
                for index in lanes[lane].indices {
                    let since = lanes[lane][index].absentSince
                    if since == nil || since == unseenSince { lanes[lane][index].absentSince = event.at }
                }
            }
            unseenSince = event.at
        case .admitted(let ticket, let until): wrong += admit(ticket, until, event.at)
        case .completed(let ticket):
            if admitted.removeValue(forKey: ticket) == nil { wrong.append("completed without an admission") }
        case .left(let ticket): if !end(ticket) { wrong.append("left twice") }
        case .expired(let ticket, let reason):
            let since = person(ticket)?.absentSince.map { max($0, unseenSince ?? $0) }
            if reason == .grace, since.map({ $0 + .seconds(configuration.graceSeconds) <= event.at }) != true {
                wrong.append("expired before grace was over")
            }
            if reason == .admission, admitted[ticket].map({ $0 <= event.at }) != true { wrong.append("an admission expired early") }
            if !end(ticket) { wrong.append("expired twice") }
        case .announced: break
        }
        return wrong
    }

    private mutating func admit(_ ticket: Ticket, _ until: Timestamp, _ at: Timestamp) -> [String] {
        var wrong: [String] = []
        let lane = ticket.lane
        if status != .open { wrong.append("admitted while \(status)") }
        guard let index = lanes[lane].firstIndex(where: counts), lanes[lane][index].ticket == ticket,
            lanes[lane][index].absentSince == nil
        else { return ["not the first in the lane who is there or waited for"] }
        if nextLane(lanes.map { $0.filter(counts).count }, pass) != lane { wrong.append("another lane was next") }
        lanes[lane].remove(at: index)
        if let stride = stride(lane) {
            liftIdleLanes(to: pass[lane])
            pass[lane] += stride
        }
        admitted[ticket] = until
        if admitted.count > configuration.maxConcurrentUsers { wrong.append("over the cap") }
        admissions.append(at)
        let lately = admissions.filter { $0 >= at - .seconds(60) }.count
        if lately > configuration.releaseRatePerMinute {
            wrong.append("\(lately) in 60 s at \(configuration.releaseRatePerMinute) a minute")
        }
        return wrong
    }

    private mutating func setAbsence(_ ranges: [TicketRange], _ since: Timestamp?) {
        for ticket in ranges.flatMap({ Array($0.tickets) }) {
            if let index = lanes[ticket.lane].firstIndex(where: { $0.ticket == ticket }) { lanes[ticket.lane][index].absentSince = since }
        }
    }

    private mutating func end(_ ticket: Ticket) -> Bool {
        if let index = lanes[ticket.lane].firstIndex(where: { $0.ticket == ticket }) {
            lanes[ticket.lane].remove(at: index)
            return true
        }
        return admitted.removeValue(forKey: ticket) != nil
    }
}
