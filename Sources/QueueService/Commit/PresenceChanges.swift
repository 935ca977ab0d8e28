import DequeModule
import QueueEngine

/// Changes of presence that one queue has yet to decide, merged per ticket.
///
/// However often people come and go while the store is slow or away, this holds one entry for each of them, and
/// becomes at most one event of each kind in a commit. Holders are counted, so the order of arrival does not matter.
struct PresenceChanges {
    struct Change {
        var opened = 0
        var closed = 0
        var isPolled = false
        /// A connection that is still there lost the ticket to another instance, which lost it in turn.
        var isReclaimed = false
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

    mutating func open(_ tickets: [Ticket]) { for ticket in tickets { change(ticket) { $0.opened += 1 } } }
    mutating func close(_ tickets: [Ticket]) { for ticket in tickets { change(ticket) { $0.closed += 1 } } }
    mutating func poll(_ ticket: Ticket) { change(ticket) { $0.isPolled = true } }
    mutating func reclaim(_ tickets: [Ticket]) { for ticket in tickets { change(ticket) { $0.isReclaimed = true } } }
    mutating func contradict(_ tickets: [Ticket]) { for ticket in tickets { change(ticket) { $0.isContradicted = true } } }
    mutating func doubt(_ ticket: Ticket) { change(ticket) { $0.isDoubtful = true } }

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

    /// Puts back changes that were not committed, ahead of those that came meanwhile.
    mutating func putBack(_ taken: PresenceChanges) {
        isEveryoneAbsent = isEveryoneAbsent || taken.isEveryoneAbsent
        isTickDue = isTickDue || taken.isTickDue
        for ticket in taken.order.reversed() {
            guard let change = taken.changes[ticket] else { continue }
            if changes[ticket] == nil { order.prepend(ticket) }
            changes[ticket, default: Change()].add(change)
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
        try decideArrivals(waiting, &decision)
        let gone = waiting.filter { ticket in
            var wasLast = false
            for _ in 0..<changes[ticket]!.closed where decision.presence.closed(ticket) { wasLast = true }
            return wasLast
        }
        guard let drainedUntil else { return try decision.markAbsent(gone) }
        try decision.markLost(gone, until: drainedUntil)
    }

    private func decideArrivals(_ waiting: [Ticket], _ decision: inout Decision) throws(ServiceError) {
        var anew: [Ticket] = []
        var back: [Ticket] = []
        for ticket in waiting {
            let change = changes[ticket]!
            for _ in 0..<change.opened where decision.presence.opened(ticket) { anew.append(ticket) }
            // Its own opening may stand in the same batch: then it is held already.
            if change.isReclaimed, !decision.presence.holds(ticket), decision.presence.opened(ticket) { anew.append(ticket) }
            if change.isPolled, decision.presence.polled(ticket, at: decision.now, lease: QueueService.pollLease) {
                // A poller may come to another instance each time: one who is present there is not announced anew.
                if decision.presence.opened(ticket) { back.append(ticket) }
            }
            if change.isContradicted, decision.presence.holds(ticket) { back.append(ticket) }
        }
        try decision.markPresent(anew, anew: true)
        try decision.markPresent(back)
    }
}

extension PresenceChanges.Change {
    fileprivate mutating func add(_ other: Self) {
        opened += other.opened
        closed += other.closed
        isPolled = isPolled || other.isPolled
        isReclaimed = isReclaimed || other.isReclaimed
        isContradicted = isContradicted || other.isContradicted
        isDoubtful = isDoubtful || other.isDoubtful
    }
}
