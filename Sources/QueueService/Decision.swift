import QueueEngine

/// What is being decided about one queue in one batch: commands run against it in turn, each seeing what those before
/// it did, and all that they brought is committed together.
///
/// A value: when the store says that somebody else was faster, it is thrown away and the commands run again.
struct Decision {
    var record: QueueRecord
    var presence: Presence
    let now: Timestamp
    let base: LogPosition
    private(set) var state: QueueState
    private(set) var events: [(event: QueueEvent, detail: LogAppend.Detail)] = []
    var receipts: [Receipt] = []
    /// Trusted users who join in this batch: a second one of the same name need not go to the store to be refused.
    var joiningUsers: Set<String> = []

    init(_ hosted: HostedQueue, now: Timestamp) {
        record = hosted.record
        presence = hosted.presence
        state = hosted.state
        base = hosted.state.position
        self.now = now
    }

    /// Runs a command of the engine. One that throws has changed nothing.
    mutating func run<R>(
        _ detail: LogAppend.Detail = .none,
        _ command: (inout QueueState, Timestamp, inout [QueueEvent]) throws(QueueRefusal) -> R
    ) throws(ServiceError) -> R {
        var new: [QueueEvent] = []
        do throws(QueueRefusal) {
            let result = try command(&state, now, &new)
            for event in new {
                events.append((event, detail))
                presence.forgetEnded(event.change)
            }
            return result
        } catch {
            throw .refused(error)
        }
    }

    /// Sets the queue anew, with what is shown of it.
    mutating func configure(_ new: QueueRecord) throws(ServiceError) {
        try run { state, now, log throws(QueueRefusal) in try state.configure(new.configuration, at: now, &log) }
        record = new
    }

    /// They are seen here, and were not.
    mutating func markPresent(_ tickets: [Ticket], anew: Bool = false) throws(ServiceError) {
        try run { state, now, log throws(QueueRefusal) in state.connect(tickets, anew: anew, at: now, &log) }
    }

    /// They have come, each over a connection that was opened at that moment.
    mutating func markArrived(_ tickets: [(ticket: Ticket, since: Timestamp)]) throws(ServiceError) {
        try run { state, now, log throws(QueueRefusal) in state.connect(tickets, anew: true, at: now, &log) }
    }

    /// Nobody sees them any more, since `moment` or now.
    mutating func markAbsent(_ tickets: [Ticket], since moment: Timestamp? = nil) throws(ServiceError) {
        try run { state, now, log throws(QueueRefusal) in state.disconnect(tickets, at: min(now, moment ?? now), &log) }
    }

    /// They are not seen any more because their instance died, or is drained: the line waits for them to come back, until
    /// `settleSeconds` after `end`.
    mutating func markLost(_ tickets: [Ticket], since moment: Timestamp? = nil, until end: Timestamp) throws(ServiceError) {
        let until = end + .seconds(record.configuration.settleSeconds)
        try run { state, now, log throws(QueueRefusal) in state.lose(tickets, until: until, at: min(now, moment ?? now), &log) }
    }

    /// What time brings. Comes last, so that whoever has just come back is seen before absences are judged.
    mutating func advance() {
        let lapsed = presence.lapsed(at: now).filter { presence.closed($0) }
        try! markAbsent(lapsed)
        try! run { state, now, log throws(QueueRefusal) in state.advance(to: now, &log) }
    }

    var append: LogAppend {
        var append = LogAppend(record: record, expected: base, state: state)
        append.events = events
        append.receipts = receipts
        return append
    }

    /// What the other instances are told. What a queue is and what is said in it they read from the store.
    var message: BusMessage {
        let needsStore = events.contains { $0.event.change.isConfigured || $0.event.change == .announced }
        return BusMessage(
            queue: record.id, epoch: record.epoch, head: state.head, previous: base.at, events: needsStore ? [] : events.map(\.event))
    }

    /// Nothing to commit.
    var isEmpty: Bool { events.isEmpty && receipts.isEmpty }
}
