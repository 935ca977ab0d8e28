import DequeModule
import QueueEngine

/// Changes of presence that one queue has yet to decide, merged per ticket.
///
/// However often people come and go while the store is slow or away, this holds one entry for each of them, and
/// becomes at most one event of each kind in a commit.
struct PresenceChanges {
    struct Change {
        /// What openings and closings make of `h` connections that hold the ticket, one after the other: `max(h + delta, floor)`.
        /// A closing that finds nobody, because another instance has taken the ticket over, changes nothing.
        private(set) var delta = 0
        private(set) var floor = 0
        /// When the last opening was; nil: there was none.
        private(set) var openedAt: Timestamp?
        var isPolled = false
        /// Another instance marked the ticket absent while it was held here.
        var isContradicted = false
        /// A join whose answer was lost: absent, unless somebody holds it.
        var isDoubtful = false
    }

    private var changes: [Ticket: Change] = [:]
    /// Tickets with a change, in the order of arrival.
    private var order = Deque<Ticket>()
    /// No instance was there: everybody is absent, except those held here.
    var isEveryoneAbsent = false
    /// Time alone brings something: decide, even without a change.
    var isTickDue = false

    var count: Int { order.count }
    var isEmpty: Bool { order.isEmpty && !isEveryoneAbsent && !isTickDue }

    private mutating func change(_ ticket: Ticket, _ body: (inout Change) -> Void) {
        if changes[ticket] == nil { order.append(ticket) }
        body(&changes[ticket, default: Change()])
    }

    mutating func open(_ tickets: [Ticket], at now: Timestamp) { for ticket in tickets { change(ticket) { $0.open(at: now) } } }
    mutating func close(_ tickets: [Ticket]) { for ticket in tickets { change(ticket) { $0.close() } } }
    mutating func poll(_ ticket: Ticket) { change(ticket) { $0.isPolled = true } }
    mutating func contradict(_ tickets: [Ticket]) { for ticket in tickets { change(ticket) { $0.isContradicted = true } } }
    mutating func doubt(_ ticket: Ticket) { change(ticket) { $0.isDoubtful = true } }

    /// Another instance has taken these tickets over: of the connections that opened or closed before that, those that stay
    /// say so.
    mutating func forgetHolders(of tickets: [Ticket]) {
        for ticket in tickets { changes[ticket]?.forgetHolders() }
    }

    /// Takes the oldest changes of at most `limit` tickets, and the flags.
    mutating func take(_ limit: Int) -> PresenceChanges {
        var taken = PresenceChanges()
        swap(&taken.isEveryoneAbsent, &isEveryoneAbsent)
        swap(&taken.isTickDue, &isTickDue)
        if order.count <= limit {
            swap(&taken.order, &order)
            swap(&taken.changes, &changes)
            return taken
        }
        for ticket in order.prefix(limit) { taken.changes[ticket] = changes.removeValue(forKey: ticket) }
        taken.order = Deque(order.prefix(limit))
        order.removeFirst(limit)
        return taken
    }

    /// What is left of it where the tickets' changes are given up.
    var withoutTickets: PresenceChanges {
        var rest = PresenceChanges()
        (rest.isEveryoneAbsent, rest.isTickDue) = (isEveryoneAbsent, isTickDue)
        return rest
    }

    /// Puts back changes that were not committed, ahead of those that came meanwhile.
    mutating func putBack(_ taken: PresenceChanges) {
        isEveryoneAbsent = isEveryoneAbsent || taken.isEveryoneAbsent
        isTickDue = isTickDue || taken.isTickDue
        for ticket in taken.order.reversed() {
            guard let change = taken.changes[ticket] else { continue }
            if changes[ticket] == nil { order.prepend(ticket) }
            changes[ticket] = changes[ticket].map { $0.after(change) } ?? change
        }
    }

    /// Decides them: who came, then who went, so that neither order of arrival loses anybody.
    ///
    /// - Parameter drainedUntil: until when those whom this instance sends away come back elsewhere; nil: it sends nobody away.
    func decide(_ decision: inout Decision, drainedUntil: Timestamp? = nil) throws(ServiceError) {
        if isEveryoneAbsent {
            try decision.run { state, now, log throws(QueueRefusal) in state.disconnectEveryone(at: now, &log) }
            try decision.markPresent(decision.presence.tickets)
        }
        try decision.markAbsent(order.filter { changes[$0]!.isDoubtful && !decision.presence.holds($0) }.map(\.self))
        let waiting = Array(order.filter { decision.state.isWaiting($0) })
        let gone = try decideHolders(waiting, &decision)
        try decidePolls(waiting, &decision)
        guard let drainedUntil else { return try decision.markAbsent(gone.filter { !decision.presence.holds($0) }) }
        try decision.markLost(gone.filter { !decision.presence.holds($0) }, until: drainedUntil)
    }

    /// Counts connections, and tells of those who came. Returns those whom no connection holds any more.
    private func decideHolders(_ waiting: [Ticket], _ decision: inout Decision) throws(ServiceError) -> [Ticket] {
        var came: [(ticket: Ticket, since: Timestamp)] = []
        var gone: [Ticket] = []
        for ticket in waiting {
            let change = changes[ticket]!
            let before = decision.presence.holders(of: ticket)
            let polls = decision.presence.polls(ticket) ? 1 : 0
            // A connection may end that is not counted any more, and changes nothing for whoever polls beside it.
            let after = polls + change.holders(before - polls)
            let wasConnected = before > polls
            decision.presence.setHolders(of: ticket, to: after)
            if let moment = change.openedAt, !wasConnected { came.append((ticket, moment)) }
            if after == 0, before > 0 || change.openedAt != nil { gone.append(ticket) }
        }
        try decision.markArrived(came)
        return gone
    }

    private func decidePolls(_ waiting: [Ticket], _ decision: inout Decision) throws(ServiceError) {
        var back: [Ticket] = []
        for ticket in waiting {
            let change = changes[ticket]!
            if change.isPolled {
                let isNew = decision.presence.polled(ticket, at: decision.now, lease: QueueService.pollLease)
                // A poller may come to another instance each time: one who is present there is not announced anew.
                if isNew || !decision.presence.holds(ticket), decision.presence.opened(ticket) { back.append(ticket) }
            }
            if change.isContradicted, decision.presence.holds(ticket) { back.append(ticket) }
        }
        try decision.markPresent(back)
    }
}

extension PresenceChanges.Change {
    fileprivate mutating func open(at now: Timestamp) {
        (delta, floor, openedAt) = (delta + 1, floor + 1, openedAt.map { max($0, now) } ?? now)
    }

    fileprivate mutating func close() {
        (delta, floor) = (delta - 1, max(0, floor - 1))
    }

    fileprivate mutating func forgetHolders() {
        (delta, floor, openedAt) = (0, 0, nil)
    }

    /// How many connections hold the ticket afterwards.
    fileprivate func holders(_ before: Int) -> Int { max(before + delta, floor) }

    /// This change behind an earlier one.
    fileprivate func after(_ earlier: Self) -> Self {
        var both = self
        (both.delta, both.floor) = (earlier.delta + delta, max(earlier.floor + delta, floor))
        both.openedAt = [openedAt, earlier.openedAt].compactMap(\.self).max()
        both.isPolled = isPolled || earlier.isPolled
        both.isContradicted = isContradicted || earlier.isContradicted
        both.isDoubtful = isDoubtful || earlier.isDoubtful
        return both
    }
}
