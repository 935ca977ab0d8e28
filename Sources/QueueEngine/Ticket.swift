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

    /// The same tickets in as few ranges as can be, where the ranges are in ascending order.
    public static func merging(_ ranges: [TicketRange]) -> [TicketRange] {
        ranges.reduce(into: []) { merged, range in
            if let last = merged.last, last.first.rawValue + last.count == range.first.rawValue {
                merged[merged.count - 1] = TicketRange(first: last.first, count: last.count + range.count)
            } else {
                merged.append(range)
            }
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
    /// Of connections at two instances the one that was opened later stays. `distantPast`: none was opened (a poll, or a correction
    /// of `disconnected`), and all stay. nil: the moment of the event, in logs of versions that kept no other.
    public let since: Timestamp?

    public init(_ range: TicketRange, since: Timestamp?) { (self.range, self.since) = (range, since) }

    /// Each ticket once, in ascending order.
    static func covering(_ tickets: [(ticket: Ticket, since: Timestamp)]) -> [Arrival] {
        var arrivals: [Arrival] = []
        for (ticket, since) in tickets.sorted(by: { $0.ticket < $1.ticket }) {
            if let last = arrivals.last, last.since == since, last.range.first.rawValue + last.range.count == ticket.rawValue {
                arrivals[arrivals.count - 1] = Arrival(TicketRange(first: last.range.first, count: last.range.count + 1), since: since)
            } else {
                arrivals.append(Arrival(TicketRange(first: ticket, count: 1), since: since))
            }
        }
        return arrivals
    }
}
