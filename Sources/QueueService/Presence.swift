import DequeModule
import HashTreeCollections
import QueueEngine

/// Whom this instance sees, as its connections and polls tell it: one bit a ticket, and a count where it has several
/// holders (a tab that was opened again before the old one was closed).
///
/// Holders are counted, so it does not matter in which order an opening on one loop and a closing on another arrive. A
/// ticket that another instance shows to have (`connected`) is not held here any more.
///
/// A value that is copied with every batch: the tables share what did not change, and leases are found by the second
/// in which they end, so a batch costs what it changes and not how many people poll.
struct Presence {
    /// By lane.
    private var held: [TicketSet] = []
    /// Holders beyond the first.
    private var surplus = TreeDictionary<Ticket, Int>()
    /// Until which second each one who polls is held.
    private var leases = TreeDictionary<Ticket, Int64>()
    private var ends = Deque<LeaseEnd>()

    private struct LeaseEnd {
        let second: Int64
        var tickets: [Ticket]
    }

    func holds(_ ticket: Ticket) -> Bool { ticket.lane < held.count && held[ticket.lane].contains(ticket.number) }

    /// Everyone who is held.
    var tickets: [Ticket] {
        var tickets: [Ticket] = []
        for (lane, numbers) in held.enumerated() { numbers.forEach { tickets.append(Ticket(lane: lane, number: $0)) } }
        return tickets
    }

    /// A holder more. Returns whether it is the first.
    mutating func opened(_ ticket: Ticket) -> Bool {
        while held.count <= ticket.lane { held.append(TicketSet()) }
        if held[ticket.lane].insert(ticket.number) { return true }
        surplus[ticket, default: 0] += 1
        return false
    }

    /// A holder less. Returns whether it was the last; false, too, where there was none.
    mutating func closed(_ ticket: Ticket) -> Bool {
        guard let extra = surplus[ticket] else { return ticket.lane < held.count && held[ticket.lane].remove(ticket.number) }
        surplus[ticket] = extra == 1 ? nil : extra - 1
        return false
    }

    /// Somebody polled: held for `lease` from `now`. Returns whether that is a new holder.
    mutating func polled(_ ticket: Ticket, at now: Timestamp, lease: Timestamp.Span) -> Bool {
        let second = (now + lease).microseconds / 1_000_000 + 1
        let before = leases.updateValue(second, forKey: ticket)
        if before != second {
            if let last = ends.last, last.second == second {
                ends[ends.count - 1].tickets.append(ticket)
            } else {
                ends.append(LeaseEnd(second: second, tickets: [ticket]))
            }
        }
        return before == nil
    }

    /// The same, where it is no new holder; otherwise nothing.
    mutating func prolong(_ ticket: Ticket, at now: Timestamp, lease: Timestamp.Span) {
        if leases[ticket] != nil { _ = polled(ticket, at: now, lease: lease) }
    }

    /// Tickets whose polls have stopped.
    mutating func lapsed(at now: Timestamp) -> [Ticket] {
        var gone: [Ticket] = []
        while let first = ends.first, first.second <= now.microseconds / 1_000_000 {
            ends.removeFirst()
            for ticket in first.tickets where leases[ticket] == first.second {
                leases[ticket] = nil
                gone.append(ticket)
            }
        }
        return gone
    }

    /// When a lease may end next.
    var nextLapse: Timestamp? { ends.first.map { Timestamp(microseconds: $0.second * 1_000_000) } }

    /// The ticket waits no more, or is held elsewhere.
    mutating func forget(_ ticket: Ticket) {
        if ticket.lane < held.count { held[ticket.lane].remove(ticket.number) }
        surplus[ticket] = nil
        leases[ticket] = nil
    }
}
