import DequeModule
import HashTreeCollections
import QueueEngine

/// Whom this instance sees, as its connections and polls tell it: one bit a ticket, and a count where it has several
/// holders (a tab that was opened again before the old one was closed).
///
/// Holders are counted, so it does not matter in which order an opening on one loop and a closing on another arrive. A
/// ticket that another instance shows to have (`connected`) is not held here any more.
///
/// A value that is copied with every batch: bits are quick to copy, and of the rest what did not change is shared.
struct Presence {
    private var held = LanedTickets()
    /// Holders beyond the first.
    private var surplus = TreeDictionary<Ticket, Int>()
    /// Who polled, by the second in which what that gave ends. The last to end is the newest.
    private var leases = Deque<Lease>()

    private struct Lease {
        let second: Int64
        var tickets = LanedTickets()
    }

    func holds(_ ticket: Ticket) -> Bool { held.contains(ticket) }

    /// Everyone who is held.
    var tickets: [Ticket] { held.tickets }

    /// A holder more. Returns whether it is the first.
    mutating func opened(_ ticket: Ticket) -> Bool {
        if held.insert(ticket) { return true }
        surplus[ticket, default: 0] += 1
        return false
    }

    /// How many hold it.
    func holders(of ticket: Ticket) -> Int { holds(ticket) ? 1 + (surplus[ticket] ?? 0) : 0 }

    /// So many hold it from now on.
    mutating func setHolders(of ticket: Ticket, to count: Int) {
        if count > 0 { held.insert(ticket) } else { held.remove(ticket) }
        surplus[ticket] = count > 1 ? count - 1 : nil
    }

    /// A holder less. Returns whether it was the last; false, too, where there was none.
    mutating func closed(_ ticket: Ticket) -> Bool {
        guard let extra = surplus[ticket] else { return held.remove(ticket) }
        surplus[ticket] = extra == 1 ? nil : extra - 1
        return false
    }

    /// Somebody polled: held for `lease` from `now`. Returns whether that is a new holder.
    mutating func polled(_ ticket: Ticket, at now: Timestamp, lease: Timestamp.Span) -> Bool {
        let second = (now + lease).microseconds / 1_000_000 + 1
        let isNew = !hasLease(ticket)
        if leases.last?.second != second { leases.append(Lease(second: second)) }
        leases[leases.count - 1].tickets.insert(ticket)
        return isNew
    }

    /// The same, where it is no new holder; otherwise nothing. Returns whether it is none.
    mutating func prolong(_ ticket: Ticket, at now: Timestamp, lease: Timestamp.Span) -> Bool {
        guard hasLease(ticket) else { return false }
        return !polled(ticket, at: now, lease: lease)
    }

    /// Whether somebody polls for the ticket here.
    func polls(_ ticket: Ticket) -> Bool { hasLease(ticket) }

    /// Whether polls are all that holds the ticket here: no connection can tell the visitor what happens.
    func onlyPolls(_ ticket: Ticket) -> Bool { polls(ticket) && holders(of: ticket) == 1 }

    /// Whether somebody may have polled after `moment`: in the same second, as far as is known here.
    func hasPolled(_ ticket: Ticket, after moment: Timestamp, lease: Timestamp.Span) -> Bool {
        guard let last = leases.last(where: { $0.tickets.contains(ticket) }) else { return false }
        return Timestamp(microseconds: last.second * 1_000_000) - lease > moment
    }

    /// From the newest on: who polls has polled just before.
    private func hasLease(_ ticket: Ticket) -> Bool { leases.reversed().contains { $0.tickets.contains(ticket) } }

    /// Tickets whose polls have stopped.
    mutating func lapsed(at now: Timestamp) -> [Ticket] {
        var gone: [Ticket] = []
        while let first = leases.first, first.second <= now.microseconds / 1_000_000 {
            leases.removeFirst()
            gone += first.tickets.tickets.filter { !hasLease($0) }
        }
        return gone
    }

    /// When a lease may end next.
    var nextLapse: Timestamp? { leases.first.map { Timestamp(microseconds: $0.second * 1_000_000) } }

    /// The ticket waits no more, or is held elsewhere.
    mutating func forget(_ ticket: Ticket) {
        held.remove(ticket)
        surplus[ticket] = nil
        for index in leases.indices { leases[index].tickets.remove(ticket) }
    }
}

/// A set of tickets, one bit each.
private struct LanedTickets {
    private var lanes: [TicketSet] = []

    func contains(_ ticket: Ticket) -> Bool { ticket.lane < lanes.count && lanes[ticket.lane].contains(ticket.number) }

    /// False where it was there already.
    @discardableResult
    mutating func insert(_ ticket: Ticket) -> Bool {
        while lanes.count <= ticket.lane { lanes.append(TicketSet()) }
        return lanes[ticket.lane].insert(ticket.number)
    }

    /// False where it was not there.
    @discardableResult
    mutating func remove(_ ticket: Ticket) -> Bool { contains(ticket) && lanes[ticket.lane].remove(ticket.number) }

    var tickets: [Ticket] {
        var tickets: [Ticket] = []
        for (lane, numbers) in lanes.enumerated() { numbers.forEach { tickets.append(Ticket(lane: lane, number: $0)) } }
        return tickets
    }
}
