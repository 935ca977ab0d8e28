import OrderedCollections
import QueueEngine
import QueueService

/// What one queue's events make of the rows of its sessions, all events taken together: one statement sees each row
/// once, so a session that is made, goes out of sight and is let in within one batch is one new row.
struct AppendRows {
    struct NewSession {
        let id: SessionID
        let visitor: Visitor
        let createdAt: Timestamp
        /// Which of the batch's events made it.
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
        /// The last event that said whether the visitor is in sight, of one who is `made`.
        fileprivate(set) var presence: UInt64 = 0
        /// The last event that set it.
        fileprivate var turn: UInt64 = 0
    }

    /// Those that were made, or of which more has changed than whether they are in sight, in the order of the events: rows that
    /// join one after the other go to the end of an index.
    private(set) var sessions = OrderedDictionary<Ticket, Session>()
    /// Everyone who waited before this event, and is not in `sessions`, was sent away by it.
    private(set) var closed: QueueEvent?
    /// Nobody was in sight any more when this event came.
    private(set) var unseen: QueueEvent?
    /// All others who went out of sight or came back, and by which event.
    private(set) var absences: [Absence] = []
    private var moves = Moves()

    struct Absence {
        let range: TicketRange
        /// nil: in sight.
        let since: Timestamp?
        let seq: UInt64
    }

    init(_ append: LogAppend) {
        for (index, entry) in append.events.enumerated() { apply(entry.event, entry.detail, index) }
        settle()
    }

    private mutating func apply(_ event: QueueEvent, _ detail: LogAppend.Detail, _ index: Int) {
        switch event.change {
        case .configured, .opened, .paused, .resumed, .announced: break
        case .closed: close(event)
        case .joined(let ticket):
            guard case .session(let id, let visitor) = detail else { return }
            let made = NewSession(id: id, visitor: visitor, createdAt: event.at, eventIndex: index)
            sessions[ticket] = Session(made: made, status: .waiting, presence: event.seq, turn: event.seq)
        case .connected(let arrivals): moves.add(arrivals.map(\.range), since: nil, turn: event.seq)
        case .disconnected(let ranges): moves.add(ranges, since: event.at, turn: event.seq)
        case .lost(let ranges, let since, _): moves.add(ranges, since: since, turn: event.seq)
        case .everyoneDisconnected: unseen = event
        case .admitted(let ticket, let until):
            change(ticket, event.seq) { ($0.status, $0.admittedAt, $0.expiresAt) = (.admitted, event.at, until) }
        case .completed(let ticket): change(ticket, event.seq) { ($0.status, $0.endedAt) = (.completed, event.at) }
        case .left(let ticket): change(ticket, event.seq) { ($0.status, $0.endedAt) = (.left, event.at) }
        case .expired(let ticket, let reason):
            change(ticket, event.seq) { ($0.status, $0.endReason, $0.endedAt) = (.expired, reason.rawValue, event.at) }
        }
    }

    private mutating func change(_ ticket: Ticket, _ turn: UInt64, _ body: (inout Session) -> Void) {
        var session = sessions[ticket] ?? Session()
        (session.absentSince, session.turn) = (nil, turn)
        body(&session)
        sessions[ticket] = session
    }

    private mutating func close(_ event: QueueEvent) {
        closed = event
        moves.removeAll()
        for (ticket, session) in sessions where session.status == .waiting {
            change(ticket, event.seq) { ($0.status, $0.endReason, $0.endedAt) = (.expired, "closed", event.at) }
        }
    }

    /// Gives each row that is written anyway its own part of the moves, and leaves the others as ranges.
    private mutating func settle() {
        let settled = moves.settled
        guard !settled.isEmpty else { return }
        var own = sessions.keys.sorted()[...]
        for move in settled {
            own = own.drop { $0.rawValue < move.first }
            var start = move.first
            while let ticket = own.first, ticket.rawValue <= move.last {
                own.removeFirst()
                sessions[ticket]!.take(move)
                addAbsence(start, until: ticket.rawValue, move)
                start = ticket.rawValue + 1
            }
            addAbsence(start, until: move.last + 1, move)
        }
    }

    private mutating func addAbsence(_ first: UInt64, until end: UInt64, _ move: Moves.Move) {
        guard first < end else { return }
        let range = TicketRange(first: Ticket(rawValue: first), count: end - first)
        absences.append(Absence(range: range, since: move.since, seq: move.turn))
    }
}

extension AppendRows.Session {
    fileprivate mutating func take(_ move: Moves.Move) {
        guard turn < move.turn else { return }
        (absentSince, presence) = (move.since, move.turn)
    }
}
