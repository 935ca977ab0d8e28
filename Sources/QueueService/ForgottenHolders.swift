import DequeModule
import QueueEngine

/// Tickets of one queue whose holders this instance has forgotten because another instance has shown that it sees the visitor,
/// each with the event that said so.
///
/// The loops hear of that event a little later. What a loop says of a connection meanwhile, that it has closed or that it stays,
/// is about a holder that does not count any more.
struct ForgottenHolders {
    private struct Entry {
        let ticket: Ticket
        let seq: UInt64
        let at: Timestamp
    }

    private var latest: [Ticket: UInt64] = [:]
    /// In the order of the log.
    private var order = Deque<Entry>()

    /// Much longer than a loop takes to hear of an event, in the time of the log.
    private static let span: Timestamp.Span = .seconds(60)
    private static let limit = 65_536

    mutating func insert(_ tickets: some Collection<Ticket>, by event: QueueEvent) {
        for ticket in tickets {
            latest[ticket] = event.seq
            order.append(Entry(ticket: ticket, seq: event.seq, at: event.at))
        }
        while let oldest = order.first, order.count > ForgottenHolders.limit || event.at - oldest.at > ForgottenHolders.span {
            order.removeFirst()
            if latest[oldest.ticket] == oldest.seq { latest[oldest.ticket] = nil }
        }
    }

    /// Whether the ticket's holders were forgotten by an event behind `head`, the last one that a loop knew.
    func contains(_ ticket: Ticket, after head: UInt64) -> Bool { latest[ticket].map { $0 > head } ?? false }
}
