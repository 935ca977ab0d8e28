import QueueEngine

/// A queue that this instance serves: its replica, and whom it sees.
struct HostedQueue {
    var record: QueueRecord
    var state: QueueState
    var presence = Presence()
    /// What everyone was told last; nil before the queue's first event is committed.
    var snapshot: QueueSnapshot?
    /// The newest first, expired ones among them.
    var announcements: [Announcement] = []
    /// The `seq` of the last admission that is known here; where it is older than the replica, the replica's first.
    private(set) var lastAdmission: UInt64
    /// As of which admission the mean wait is told for a second, and since when.
    private var told: (admission: UInt64, at: Timestamp)?
    /// How far the store's log was at the last beat.
    var storeHead: UInt64 = 0
    /// The replica is being brought up to date from the store.
    var isCatchingUp = false
    /// How often that has begun.
    var catchUps = 0
    /// What was decided against the replica is in the store's hands.
    var isCommitting = false
    /// What time brings is about to be decided.
    var isTicking = false
    /// Since when what time brings was due, until that is committed.
    var due: Timestamp?
    /// Somebody else was faster, and the store may keep the queue for this instance.
    var isKept = false
    /// What came meanwhile.
    private(set) var kept: [BusMessage] = []
    /// Those who wait for the end of either.
    var waiting: [CheckedContinuation<Void, Never>] = []

    init(record: QueueRecord, state: QueueState, announcements: [Announcement] = []) {
        self.record = record
        self.state = state
        lastAdmission = state.head
        self.announcements = announcements
    }

    /// Another history, in which nobody has been seen yet.
    mutating func restart(from stored: StoredQueue) {
        record = stored.record
        state = QueueState(stored.image)
        presence = Presence()
        announcements = []
        storeHead = 0
        lastAdmission = state.head
        told = nil
        kept = []
    }

    /// For after the commit; what does not find room is read from the store when its lack is noticed.
    mutating func keep(_ message: BusMessage) {
        if kept.count < 256 { kept.append(message) }
    }

    mutating func takeKept() -> [BusMessage] {
        defer { kept = [] }
        return kept
    }

    /// Becomes what was committed. Returns what it was before; nil where it has become something else meanwhile.
    mutating func adopt(_ decision: Decision) -> (record: QueueRecord, due: Timestamp?)? {
        guard state.position == decision.base else { return nil }
        defer { due = nil }
        presence = decision.presence
        state = decision.state
        isKept = false
        for (event, _) in decision.events { note(event) }
        return (record, due)
    }

    /// What events of others mean for those whom this instance sees.
    struct Moves {
        /// They have shown up at another instance.
        var away: [(ticket: Ticket, at: Timestamp)] = []
        /// They were marked absent by somebody who could not know better.
        var contradicted: [Ticket] = []
    }

    /// Takes an event that another instance has committed.
    mutating func apply(_ event: QueueEvent, _ moves: inout Moves) {
        state.apply(event)
        note(event)
        presence.forgetEnded(event.change)
        switch event.change {
        case .connected(let ranges):
            for ticket in held(ranges) {
                presence.forget(ticket)
                moves.away.append((ticket, event.at))
            }
        case .disconnected(let ranges): moves.contradicted += held(ranges)
        case .everyoneDisconnected: moves.contradicted += presence.tickets
        default: break
        }
    }

    /// As of which admission the mean wait is told at `now`: the last one, or the last a second ago at most. In a sale
    /// there is one every few milliseconds, and each mean is a thousand sessions to the store.
    mutating func admissionToTell(at now: Timestamp) -> UInt64 {
        if let told, now - told.at < .seconds(1) { return told.admission }
        told = (lastAdmission, now)
        return lastAdmission
    }

    /// The event is in the log.
    mutating func note(_ event: QueueEvent) {
        if case .admitted = event.change { lastAdmission = event.seq }
    }

    private func held(_ ranges: [TicketRange]) -> [Ticket] {
        ranges.flatMap { $0.tickets.filter { presence.holds($0) } }
    }
}

extension Presence {
    mutating func forgetEnded(_ change: QueueEvent.Change) {
        switch change {
        case .admitted(let ticket, _), .left(let ticket), .expired(let ticket, _): forget(ticket)
        case .closed: self = Presence()
        default: break
        }
    }
}
