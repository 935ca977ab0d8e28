/// A place in line: a lane and a number in it. Numbers of a lane are consecutive from 1 and never used again.
public struct Ticket: Sendable, Hashable, Comparable {
    /// The lane in the upper 8 bits, the number in the lower 56: one word a ticket in every index.
    public let rawValue: UInt64

    public init(rawValue: UInt64) { self.rawValue = rawValue }

    public init(lane: Int, number: UInt64) {
        precondition(lane < 256 && number < 1 << 56)
        rawValue = UInt64(lane) << 56 | number
    }

    public var lane: Int { Int(rawValue >> 56) }
    public var number: UInt64 { rawValue & (1 << 56 - 1) }

    /// By lane, then by number: the order of a sweep.
    public static func < (a: Ticket, b: Ticket) -> Bool { a.rawValue < b.rawValue }
}

/// Tickets of one lane with consecutive numbers. Who came and went together is told in few of these.
public struct TicketRange: Sendable, Hashable {
    public let first: Ticket
    public let count: UInt64

    public init(first: Ticket, count: UInt64) {
        precondition(count > 0)
        self.first = first
        self.count = count
    }

    public var tickets: some Sequence<Ticket> {
        (0..<count).lazy.map { Ticket(lane: first.lane, number: first.number + $0) }
    }

    /// Both as one; nil where `next` does not begin where this one ends.
    func joined(with next: TicketRange) -> TicketRange? {
        // Unchecked: what was written into a row by hand must not end the process.
        first.rawValue &+ count == next.first.rawValue ? TicketRange(first: first, count: max(1, count &+ next.count)) : nil
    }

    /// The same tickets in as few ranges as can be, where the ranges are in ascending order.
    public static func merging(_ ranges: [TicketRange]) -> [TicketRange] {
        ranges.reduce(into: []) { merged, range in
            if let both = merged.last?.joined(with: range) { merged[merged.count - 1] = both } else { merged.append(range) }
        }
    }

    /// The fewest ranges for these tickets, which need not be sorted and may repeat.
    public static func covering(_ tickets: some Sequence<Ticket>) -> [TicketRange] {
        var ranges: [TicketRange] = []
        var first: Ticket?
        var last: Ticket?
        for ticket in tickets.sorted() where ticket != last {
            if let known = last, ticket.rawValue == known.rawValue + 1 {
                last = ticket
                continue
            }
            if let first, let last { ranges.append(TicketRange(first: first, count: last.rawValue - first.rawValue + 1)) }
            (first, last) = (ticket, ticket)
        }
        if let first, let last { ranges.append(TicketRange(first: first, count: last.rawValue - first.rawValue + 1)) }
        return ranges
    }
}

/// Tickets in a row whose visitors came back at one moment.
public struct Arrival: Sendable, Hashable {
    public let range: TicketRange
    /// When the visitors opened their connections: of connections at two instances the later one stays. `distantPast`: no connection
    /// was opened (a poll, or a correction of `disconnected`), and all stay. nil: with the event; older versions kept no other
    /// moment.
    public let since: Timestamp?

    public init(_ range: TicketRange, since: Timestamp?) { (self.range, self.since) = (range, since) }

    /// Each ticket once, in ascending order.
    static func covering(_ tickets: [(ticket: Ticket, since: Timestamp)]) -> [Arrival] {
        var arrivals: [Arrival] = []
        for (ticket, since) in tickets.sorted(by: { $0.ticket < $1.ticket }) {
            let one = TicketRange(first: ticket, count: 1)
            if let last = arrivals.last, last.since == since, let both = last.range.joined(with: one) {
                arrivals[arrivals.count - 1] = Arrival(both, since: since)
            } else {
                arrivals.append(Arrival(one, since: since))
            }
        }
        return arrivals
    }
}
