import QueueEngine
import QueueService

/// What one queue's events make of the rows of its sessions, all events taken together: one statement sees each row
/// once, so a session that is made, goes out of sight and is let in within one batch is one new row.
struct AppendRows {
    struct NewSession {
        let id: SessionID
        let visitor: Visitor
        let createdAt: Timestamp
        /// Which event made it.
        let eventIndex: Int
    }

    /// A session's row after the batch. What is nil stays as it is, but for `absentSince`, which every event sets.
    struct Session {
        var made: NewSession?
        var status: SessionStatus?
        var endReason: String?
        var absentSince: Timestamp?
        var admittedAt: Timestamp?
        var expiresAt: Timestamp?
        var endedAt: Timestamp?

        /// Nothing has changed but whether it is in sight.
        var isPresenceOnly: Bool { made == nil && status == nil }
    }

    private(set) var sessions: [Ticket: Session] = [:]
    /// Everyone who waited before and is not in `sessions` was sent away at this moment.
    private(set) var closedAt: Timestamp?

    init(_ append: LogAppend) {
        for (index, entry) in append.events.enumerated() { apply(entry.event, entry.detail, index) }
    }

    private mutating func apply(_ event: QueueEvent, _ detail: LogAppend.Detail, _ index: Int) {
        switch event.change {
        case .configured, .opened, .paused, .resumed, .announced: break
        case .closed: close(at: event.at)
        case .joined(let ticket):
            guard case .session(let id, let visitor) = detail else { return }
            let made = NewSession(id: id, visitor: visitor, createdAt: event.at, eventIndex: index)
            sessions[ticket] = Session(made: made, status: .waiting)
        case .connected(let ranges): setAbsence(ranges, nil)
        case .disconnected(let ranges): setAbsence(ranges, event.at)
        case .admitted(let ticket, let until):
            change(ticket) { ($0.status, $0.admittedAt, $0.expiresAt) = (.admitted, event.at, until) }
        case .completed(let ticket): change(ticket) { ($0.status, $0.endedAt) = (.completed, event.at) }
        case .left(let ticket): change(ticket) { ($0.status, $0.endedAt) = (.left, event.at) }
        case .expired(let ticket, let reason):
            change(ticket) { ($0.status, $0.endReason, $0.endedAt) = (.expired, reason.rawValue, event.at) }
        }
    }

    private mutating func change(_ ticket: Ticket, _ body: (inout Session) -> Void) {
        var session = sessions[ticket] ?? Session()
        session.absentSince = nil
        body(&session)
        sessions[ticket] = session
    }

    private mutating func setAbsence(_ ranges: [TicketRange], _ since: Timestamp?) {
        for range in ranges {
            for ticket in range.tickets { sessions[ticket, default: Session()].absentSince = since }
        }
    }

    private mutating func close(at moment: Timestamp) {
        closedAt = moment
        for (ticket, session) in sessions {
            if session.isPresenceOnly {
                sessions[ticket] = nil
            } else if session.status == .waiting {
                change(ticket) { ($0.status, $0.endReason, $0.endedAt) = (.expired, "closed", moment) }
            }
        }
    }

    /// Sessions that only went out of sight or came back, as ranges: an instance that ends takes thousands with it.
    var absences: [(range: TicketRange, since: Timestamp?)] {
        let byMoment = Dictionary(grouping: sessions.filter { $0.value.isPresenceOnly }, by: \.value.absentSince)
        return byMoment.flatMap { since, sessions in TicketRange.covering(sessions.map(\.key)).map { ($0, since) } }
    }
}
