import DequeModule
import QueueEngine
import QueueService

/// One queue's rows, as plainly as they can be kept. An object, so that looking at all queues copies none; only the holder
/// of the store's lock touches it.
final class ModelQueue: @unchecked Sendable {
    /// A session that waits or is admitted.
    struct Row {
        var session: SessionRecord
        var absentSince: Timestamp?
        /// Who connected it last.
        var instance: InstanceID
    }

    var record: QueueRecord
    var status: QueueStatus
    var head: UInt64
    var lastEventAt: Timestamp
    var counters: QueueCounters
    var isOccupied: Bool
    var wakeAt: Timestamp?
    var isActive = true
    var unseenSince: Timestamp?
    var log = Deque<LogEntry>()
    var rows: [Ticket: Row] = [:]
    /// Whose place each trusted user's is: waiting, admitted, or sent away by closing and not yet written.
    var users: [String: Ticket] = [:]
    /// Sent away by closing and not yet written.
    var closing: [SessionRecord] = []
    var announcements: [Announcement] = []
    /// A reader's name, and the key that it belongs to.
    struct Consumer: Hashable, Comparable {
        let name: String
        let key: KeyID
        static func < (a: Consumer, b: Consumer) -> Bool { (a.name, a.key) < (b.name, b.key) }
    }

    var consumers: [Consumer: (seq: UInt64, at: Timestamp)] = [:]
    /// When the log is to be looked at again by retention.
    var logSince = Timestamp.distantPast
    var deletedAt: Timestamp?
    var reservation: (by: InstanceID, until: Timestamp)?

    init(_ append: LogAppend) {
        record = append.record
        status = append.status
        head = 0
        lastEventAt = .distantPast
        counters = append.counters
        isOccupied = false
    }

    var position: LogPosition { LogPosition(seq: head, at: lastEventAt) }

    func entries(after seq: UInt64, limit: Int) -> [LogEntry] {
        guard let first = log.first?.event.seq else { return [] }
        let start = seq < first ? 0 : Int(min(seq - first + 1, UInt64(log.count)))
        return log[start..<min(log.count, start + limit)].map { entry in
            guard entry.event.change == .announced, let announcement = announcement(entry.event.seq) else { return entry }
            return LogEntry(event: entry.event, session: entry.session, user: entry.user, announcement: announcement)
        }
    }

    private func announcement(_ seq: UInt64) -> Announcement? { announcements.last { $0.seq == seq } }

    var bounds: ClosedRange<UInt64>? { log.isEmpty ? nil : log.first!.event.seq...log.last!.event.seq }

    /// Deletes the oldest entries; the last one stays, and what a reader has not confirmed.
    func prune(_ age: ExpiredRows.LogAge, limit: Int) -> Int {
        let read = consumers.values.filter { $0.at > age.unseenSince }.map(\.seq).min() ?? .max
        var count = 0
        while count < limit, log.count > 1, log[0].event.at < age.before, log[0].event.seq <= read {
            log.removeFirst()
            count += 1
        }
        if count < limit { notePruned(age) }
        return count
    }

    private func notePruned(_ age: ExpiredRows.LogAge) {
        guard let first = log.first?.event else { return logSince = age.now }
        let kept = announcements.suffix(ExpiredRows.announcementsKept)
        announcements = announcements.dropLast(kept.count).filter { $0.seq >= first.seq } + kept
        logSince = first.seq < head ? max(first.at, age.before) : age.now
    }

    func held(by instance: InstanceID) -> [Ticket] {
        rows.values.filter { $0.session.status == .waiting && $0.absentSince == nil && $0.instance == instance }
            .map(\.session.ticket).sorted()
    }
}

// MARK: - Events

extension ModelQueue {
    /// Takes over what an append says of the queue, then its events. Returns the sessions that have ended.
    func take(_ append: LogAppend, by instance: InstanceID) -> [SessionRecord] {
        status = append.status
        counters = append.counters
        reservation = nil
        if !(isOccupied && append.isOccupied) { wakeAt = append.wakeAt }
        isOccupied = append.isOccupied
        var ended: [SessionRecord] = []
        for (event, detail) in append.events {
            if case .configured = event.change { record = append.record }
            head = event.seq
            lastEventAt = event.at
            change(event, detail, instance, &ended)
            log.append(entry(event, ended.last))
        }
        return ended
    }

    private func entry(_ event: QueueEvent, _ ended: SessionRecord?) -> LogEntry {
        let session = event.change.ticket.flatMap { ticket in
            rows[ticket]?.session ?? (ended?.ticket == ticket ? ended : nil)
        }
        return LogEntry(event: event, session: session?.id, user: session?.visitor.user)
    }

    private func change(
        _ event: QueueEvent, _ detail: LogAppend.Detail, _ instance: InstanceID, _ ended: inout [SessionRecord]
    ) {
        switch event.change {
        case .joined(let ticket): insert(ticket, event.at, detail, instance)
        case .connected(let arrivals): setAbsence(arrivals.map(\.range), nil, instance)
        case .disconnected(let ranges): setAbsence(ranges, event.at, nil)
        case .lost(let ranges, let since, _): setAbsence(ranges, since, nil)
        case .everyoneDisconnected:
            for (ticket, row) in rows where row.session.status == .waiting && (row.absentSince == nil || row.absentSince == unseenSince) {
                rows[ticket]!.absentSince = event.at
            }
            unseenSince = event.at
        case .admitted(let ticket, let until):
            rows[ticket]?.session.status = .admitted
            rows[ticket]?.session.admittedAt = event.at
            rows[ticket]?.session.expiresAt = until
            rows[ticket]?.absentSince = nil
        case .completed(let ticket): end(ticket, .completed, nil, event.at, &ended)
        case .left(let ticket): end(ticket, .left, nil, event.at, &ended)
        case .expired(let ticket, let reason): end(ticket, .expired, reason.rawValue, event.at, &ended)
        case .closed: close(event.at)
        case .announced:
            guard case .announcement(let text, let severity, let expiresAt) = detail else { return }
            announcements.append(
                Announcement(seq: event.seq, text: text, severity: severity, publishedAt: event.at, expiresAt: expiresAt))
        default: break
        }
    }

    private func insert(_ ticket: Ticket, _ moment: Timestamp, _ detail: LogAppend.Detail, _ instance: InstanceID) {
        guard case .session(let id, let visitor) = detail else { return }
        let session = SessionRecord(
            id: id, tenant: record.tenant, queue: record.id, ticket: ticket, visitor: visitor, status: .waiting, createdAt: moment)
        rows[ticket] = Row(session: session, instance: instance)
        if let user = visitor.user { users[user] = ticket }
    }

    private func setAbsence(_ ranges: [TicketRange], _ since: Timestamp?, _ instance: InstanceID?) {
        for ticket in ranges.flatMap({ Array($0.tickets) }) where rows[ticket]?.session.status == .waiting {
            rows[ticket]!.absentSince = since
            if let instance { rows[ticket]!.instance = instance }
        }
    }

    private func end(
        _ ticket: Ticket, _ status: SessionStatus, _ reason: String?, _ moment: Timestamp, _ ended: inout [SessionRecord]
    ) {
        guard var session = rows.removeValue(forKey: ticket)?.session else { return }
        (session.status, session.endReason, session.endedAt) = (status, reason, moment)
        if let user = session.visitor.user, users[user] == ticket { users[user] = nil }
        ended.append(session)
    }

    /// Everyone who waits is sent away at once; that their names are free again is written afterwards.
    private func close(_ moment: Timestamp) {
        for (ticket, row) in rows where row.session.status == .waiting {
            rows[ticket] = nil
            var session = row.session
            (session.status, session.endReason, session.endedAt) = (.expired, "closed", moment)
            closing.append(session)
        }
        closing.sort { $0.ticket < $1.ticket }
    }
}

extension QueueEvent.Change {
    /// The one ticket that the event is about.
    var ticket: Ticket? {
        switch self {
        case .joined(let ticket), .admitted(let ticket, _), .completed(let ticket), .left(let ticket), .expired(let ticket, _): ticket
        default: nil
        }
    }
}
