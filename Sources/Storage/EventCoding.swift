import Foundation
import QueueEngine

/// An event's change as columns: its type, the ticket that it is about, and what else there is as JSON.
struct StoredChange {
    let type: String
    var ticket: Ticket?
    var data: String?

    init(_ change: QueueEvent.Change) {
        switch change {
        case .configured(let configuration): (type, data) = ("configured", JSON.encode(configuration))
        case .opened: type = "opened"
        case .paused: type = "paused"
        case .resumed: type = "resumed"
        case .closed: type = "closed"
        case .joined(let joined): (type, ticket) = ("joined", joined)
        case .connected(let arrivals):
            (type, data) = ("connected", JSON.encode(arrivals.map { StoredRange($0.range, since: $0.since) }))
        case .disconnected(let ranges): (type, data) = ("disconnected", JSON.encode(ranges.map { StoredRange($0) }))
        case .lost(let ranges, let since, let until): (type, data) = ("lost", JSON.encode(StoredLoss(ranges, since, until)))
        case .everyoneDisconnected: type = "everyone_disconnected"
        case .admitted(let admitted, let until): (type, ticket, data) = ("admitted", admitted, String(until.microseconds))
        case .completed(let completed): (type, ticket) = ("completed", completed)
        case .left(let left): (type, ticket) = ("left", left)
        case .expired(let expired, let reason): (type, ticket, data) = ("expired", expired, reason.rawValue)
        case .announced: type = "announced"
        }
    }

    init(type: String, ticket: Ticket?, data: String?) {
        self.type = type
        self.ticket = ticket
        self.data = data
    }

    /// nil where the columns are not what this program writes.
    var change: QueueEvent.Change? {
        switch type {
        case "configured": data.flatMap { JSON.decode(QueueConfiguration.self, $0) }.map { .configured($0) }
        case "opened": .opened
        case "paused": .paused
        case "resumed": .resumed
        case "closed": .closed
        case "joined": ticket.map { .joined($0) }
        case "connected": ranges.map { .connected($0.map { Arrival($0.range, since: $0.since) }) }
        case "disconnected": ranges.map { .disconnected($0.map(\.range)) }
        case "lost":
            data.flatMap { JSON.decode(StoredLoss.self, $0) }.map {
                .lost($0.ranges.map(\.range), since: $0.since.possible, until: $0.until.possible)
            }
        case "everyone_disconnected": .everyoneDisconnected
        case "admitted": data.flatMap(Int64.init).flatMap { until in ticket.map { .admitted($0, until: Timestamp(microseconds: until)) } }
        case "completed": ticket.map { .completed($0) }
        case "left": ticket.map { .left($0) }
        case "expired": data.flatMap(ExpiryReason.init).flatMap { reason in ticket.map { .expired($0, reason) } }
        case "announced": .announced
        default: nil
        }
    }

    private var ranges: [StoredRange]? { data.flatMap { JSON.decode([StoredRange].self, $0) } }
}

/// Who was lost with an instance, and until when the line waits for them.
private struct StoredLoss: Codable {
    let ranges: [StoredRange]
    let since: Timestamp
    let until: Timestamp

    init(_ ranges: [TicketRange], _ since: Timestamp, _ until: Timestamp) {
        self.ranges = ranges.map { StoredRange($0) }
        self.since = since
        self.until = until
    }
}

/// `[first ticket, count]`, and of an arrival since when: microseconds since 1970. Versions that do not know of it read the
/// two numbers.
private struct StoredRange: Codable {
    let first: UInt64
    let count: UInt64
    let since: Timestamp?

    init(_ range: TicketRange, since: Timestamp? = nil) { (first, count, self.since) = (range.first.rawValue, range.count, since) }

    init(from decoder: any Decoder) throws {
        var container = try decoder.unkeyedContainer()
        first = try container.decode(UInt64.self)
        count = max(1, try container.decode(UInt64.self))
        since =
            container.isAtEnd
            ? nil : Timestamp(microseconds: try container.decode(Int64.self)).possible
    }

    func encode(to encoder: any Encoder) throws {
        var container = encoder.unkeyedContainer()
        try container.encode(first)
        try container.encode(count)
        if let since { try container.encode(since.microseconds) }
    }

    var range: TicketRange { TicketRange(first: Ticket(rawValue: first), count: count) }
}

extension Timestamp {
    /// The nearest moment at which an event can be: rows may have been written by hand.
    fileprivate var possible: Timestamp { min(.latestEvent, max(.distantPast, self)) }
}

/// Columns that hold JSON.
enum JSON {
    static func encode(_ value: some Encodable) -> String {
        // Numbers, strings and dates that are none: encoding them cannot fail.
        String(decoding: try! JSONEncoder().encode(value), as: UTF8.self)
    }

    static func decode<V: Decodable>(_ type: V.Type, _ text: String) -> V? {
        try? JSONDecoder().decode(type, from: Data(text.utf8))
    }
}
