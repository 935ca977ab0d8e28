import QueueEngine

/// A queue that this instance serves: its replica, and whom it sees.
struct HostedQueue {
    var record: QueueRecord
    var state: QueueState
    var presence = Presence()
    /// What observers were told last; nil before the queue's first event is committed.
    var snapshot: QueueSnapshot?
    /// The newest first, expired ones among them.
    var announcements: [Announcement] = []
    /// The `seq` of the last admission that is known here; where it is older than the replica, the replica's first.
    private(set) var lastAdmission: UInt64
    /// As of which admission the mean wait is reported for a second, and since when.
    private var told: (admission: UInt64, at: Timestamp)?
    /// How far the store's log was at the last heartbeat.
    var storeHead: UInt64 = 0
    /// When somebody asked for it last.
    var visitedAt = Timestamp.distantPast
    /// Readers of its events.
    var followers = 0
    /// It is looked at again whether it may rest.
    var isRestPlanned = false

    // What is under way.

    /// The replica is being brought up to date from the store.
    var isCatchingUp = false
    /// How often that has begun, and which of them was the last that came to the log's end.
    var catchUps = 0
    var caughtUp = 0
    /// How many commits have begun here, and which of them was adopted last.
    private(set) var commits = 0
    private(set) var adoptedCommit = 0
    /// A commit lost against another instance, and its commands wait for the replica.
    var isCatchingUpAfterLoss = false
    /// The store tells another history, and the replica of this one is being replaced.
    var isRebuilding = false
    /// A decision made against the replica is in the store's hands.
    private(set) var isCommitting = false
    /// A tick is in the backlog.
    var isTicking = false
    /// How late releases come.
    private(set) var releaseLag = ReleaseLag()
    /// Events by which this instance said whom it sees, and of which it does not know whether they were committed: found in the
    /// log, they are not another instance's.
    private var doubtfulConnections: [QueueEvent] = []
    private(set) var forgotten = ForgottenHolders()
    /// Admissions that those who poll here have not been told yet.
    var untold = UntoldAdmissions()
    /// Another instance was faster, and the store may keep the queue for this one.
    var holdsReservation = false
    /// The store refused the queue's part of a commit; it is tried again after a pause.
    var isBackingOff = false
    /// How often that happened in a row.
    var failures = 0
    /// Pauses in a row because no connection was free, or another transaction had locked a row.
    var busyTurns = 0
    /// How many pauses there have been, which tells one from another.
    var pauses = 0
    /// Since when the store has refused the queue's changes.
    var staleSince: Timestamp?
    /// When it did so last.
    var refusedAt: Timestamp?
    /// Set once the queue is read from the store; one that was made here has one history, and nobody asks.
    var confirmed = ConfirmedSessions(since: .latestEvent)
    /// How often in a row a commit was lost and nothing new could be read.
    var fruitlessTurns = 0
    /// The store refuses something that is being looked for; nil: nothing.
    var search: RejectionSearch?
    /// No tick before this moment, because the last ones brought nothing; how many.
    var idleTicks: (count: Int, until: Timestamp)?
    /// Messages received during a commit.
    private(set) var deferredMessages: [BusMessage] = []
    /// Something of the above is under way.
    var isBusy: Bool { isRebuilding || isCatchingUp || isCatchingUpAfterLoss || isCommitting || isTicking || !waiting.isEmpty }
    /// Callers that wait for a change of the above.
    var waiting: [CheckedContinuation<Void, Never>] = []

    init(record: QueueRecord, state: QueueState, announcements: [Announcement] = []) {
        self.record = record
        self.state = state
        lastAdmission = state.head
        self.announcements = announcements
        releaseLag.look(at: state)
    }

    /// Another history, in which nobody has been seen yet.
    mutating func restart(from stored: StoredQueue, _ announcements: [Announcement], at now: Timestamp) {
        confirmed = ConfirmedSessions(since: now)
        record = stored.record
        state = QueueState(stored.image)
        presence = Presence()
        self.announcements = announcements
        storeHead = 0
        lastAdmission = state.head
        told = nil
        deferredMessages = []
        doubtfulConnections = []
        forgotten = ForgottenHolders()
        (releaseLag, untold, staleSince) = (ReleaseLag(), UntoldAdmissions(), nil)
    }

    /// The same history, further on, of which the events between are not known here.
    mutating func skip(to record: QueueRecord, _ state: QueueState, _ announcements: [Announcement]) {
        (self.record, self.state, self.announcements) = (record, state, announcements)
        for ticket in presence.tickets where !state.isWaiting(ticket) { presence.forget(ticket) }
        lastAdmission = state.head
        releaseLag.look(at: state)
    }

    /// Remembers which of a commit's events may be in the log without this instance having heard so.
    mutating func doubt(_ decision: Decision) {
        doubtfulConnections += decision.events.map(\.event).filter { if case .connected = $0.change { true } else { false } }
        doubtfulConnections.removeFirst(max(0, doubtfulConnections.count - HostedQueue.doubtfulLimit))
    }

    /// A commit has a few such events, and after one that is in doubt the next one comes after a pause.
    private static let doubtfulLimit = 64

    mutating func beginCommit() {
        isCommitting = true
        commits += 1
    }

    mutating func endCommit() { isCommitting = false }

    /// Keeps a message until the commit has ended. One that finds no room is read from the store when it is missed.
    mutating func deferUntilCommitted(_ message: BusMessage) {
        if deferredMessages.count < 256 { deferredMessages.append(message) }
    }

    mutating func takeDeferredMessages() -> [BusMessage] {
        defer { deferredMessages = [] }
        return deferredMessages
    }

    /// Becomes what was committed. Returns the record as it was before, and how late each release was; nil where it has
    /// become something else meanwhile.
    mutating func adopt(_ decision: Decision) -> (record: QueueRecord, releaseLags: [Timestamp.Span])? {
        guard state.position == decision.base else { return nil }
        for (event, _) in decision.events { untold.note(event) { presence.onlyPolls($0) } }
        presence = decision.presence
        state = decision.state
        adoptedCommit = commits
        let released = decision.events.count { $0.event.change.isAdmission }
        let lags = released > 0 ? releaseLag.released(released, at: decision.now, state: state) : []
        releaseLag.look(at: state)
        holdsReservation = false
        (failures, busyTurns, fruitlessTurns, idleTicks) = (0, 0, 0, nil)
        for (event, _) in decision.events { note(event) }
        return (record, lags)
    }

    /// The store has taken a part with commands, or with changes of presence.
    mutating func widenSearch(commands: Bool, presence: Bool) {
        search = search.flatMap { $0.widened(commands: commands, presence: presence) }
    }

    /// Takes over a decision without events: presence, and what the engine has skipped on the way to nothing.
    mutating func adoptUnchanged(_ decision: Decision) {
        presence = decision.presence
        if state.position == decision.base { state = decision.state }
    }

    /// What events of others mean for those whom this instance sees.
    struct Moves {
        /// They have shown up at another instance.
        var away: [(ticket: Ticket, at: Timestamp)] = []
        /// They were marked absent by somebody who could not know better.
        var contradicted: [Ticket] = []
    }

    /// Takes an event that another instance has committed, or this one without having heard so.
    mutating func apply(_ event: QueueEvent, _ moves: inout Moves) {
        state.apply(event)
        note(event)
        untold.note(event) { presence.onlyPolls($0) }
        // The instance that decided it has recorded how late it was.
        if event.change.isAdmission { _ = releaseLag.released(1, at: event.at, state: state) }
        releaseLag.look(at: state)
        presence.forgetEnded(event.change)
        switch event.change {
        case .connected(let arrivals):
            if let index = doubtfulConnections.firstIndex(of: event) {
                doubtfulConnections.remove(at: index)
                break
            }
            let before = moves.away.count
            for arrival in arrivals { moveAway(arrival, min(event.at, arrival.since ?? event.at), &moves) }
            forgotten.insert(moves.away[before...].map(\.ticket), by: event)
        case .disconnected(let ranges), .lost(let ranges, _, _): moves.contradicted += held(ranges)
        case .everyoneDisconnected: moves.contradicted += presence.tickets
        default: break
        }
    }

    /// Another instance sees them since `moment`.
    private mutating func moveAway(_ arrival: Arrival, _ moment: Timestamp, _ moves: inout Moves) {
        for ticket in held([arrival.range]) {
            if moment > .distantPast, presence.hasPolled(ticket, after: moment, lease: QueueService.pollLease) {
                // What polls here is newer. Whoever saw the visitor before may say yet that they are gone.
                presence.setHolders(of: ticket, to: 1)
                moves.contradicted.append(ticket)
            } else {
                presence.forget(ticket)
            }
            moves.away.append((ticket, moment))
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
