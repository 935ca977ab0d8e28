/// People who went out of sight at one moment.
struct Absence: Sendable, Comparable {
    let since: Timestamp
    private let ranges: [TicketRange]
    /// The first ticket that was not skipped yet: which range, and how far into it.
    private var place: (range: Int, offset: UInt64) = (0, 0)

    init(since: Timestamp, ranges: [TicketRange]) {
        self.since = since
        self.ranges = ranges
    }

    static func < (a: Absence, b: Absence) -> Bool { a.since < b.since }
    static func == (a: Absence, b: Absence) -> Bool { a.since == b.since && a.ranges == b.ranges }

    /// The first ticket that is left.
    var first: Ticket? {
        guard place.range < ranges.count else { return nil }
        let first = ranges[place.range].first
        return Ticket(lane: first.lane, number: first.number + place.offset)
    }

    mutating func skipFirst() {
        place.offset += 1
        if place.offset == ranges[place.range].count { place = (place.range + 1, 0) }
    }
}

/// Finds whose absence expires next. An entry whose subject has come back, or has left, is skipped when its time comes.
struct AbsenceIndex: Sendable {
    /// They expire in the order in which they began.
    private var absences = DueList<Absence>()
    /// Those of the people whom the line waits for. They expire when it stops, which may be long after others that began later.
    private var losses: [(since: Timestamp, absences: DueList<Absence>)] = []

    mutating func insert(_ absence: Absence, isLoss: Bool) {
        guard isLoss else { return absences.insert(absence) }
        if let index = losses.firstIndex(where: { $0.since == absence.since }) { return losses[index].absences.insert(absence) }
        var list = DueList<Absence>()
        list.insert(absence)
        losses.append((absence.since, list))
    }

    mutating func removeAll(since moment: Timestamp) {
        absences.removeAll { $0.since == moment }
        losses.removeAll { $0.since == moment }
    }

    /// The line waits only for those that `isLoss` still says are waited for; the others expire as everyone does.
    mutating func settle(except isLoss: (Timestamp) -> Bool) {
        for loss in losses where !isLoss(loss.since) {
            var rest = loss.absences
            while let absence = rest.first {
                absences.insert(absence)
                rest.removeFirst()
            }
        }
        losses.removeAll { !isLoss($0.since) }
    }

    /// Skips whom `isOver` names, as far as they stand first.
    mutating func skip(_ isOver: (Ticket, Timestamp) -> Bool) {
        absences.skip(isOver)
        guard !losses.isEmpty else { return }
        for index in losses.indices { losses[index].absences.skip(isOver) }
        losses.removeAll { $0.absences.first == nil }
    }

    /// Who expires next, and when, if an absence that began at some moment expires at what `expiry` says.
    func next(_ expiry: (Timestamp) -> Timestamp) -> (ticket: Ticket, at: Timestamp)? {
        var next = absences.first.map { ($0, expiry($0.since)) }
        for loss in losses {
            guard let absence = loss.absences.first else { continue }
            let moment = expiry(loss.since)
            if next.map({ moment < $0.1 }) ?? true { next = (absence, moment) }
        }
        return next.flatMap { absence, moment in absence.first.map { ($0, moment) } }
    }
}

extension DueList<Absence> {
    fileprivate mutating func skip(_ isOver: (Ticket, Timestamp) -> Bool) {
        while var absence = first {
            var skipped = false
            while let ticket = absence.first, isOver(ticket, absence.since) {
                absence.skipFirst()
                skipped = true
            }
            if absence.first != nil {
                if skipped { replaceFirst(absence) }
                return
            }
            removeFirst()
        }
    }
}
