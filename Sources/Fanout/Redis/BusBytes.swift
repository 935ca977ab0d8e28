import Foundation
import QueueEngine
import QueueService
import Telemetry

/// Writes what instances tell each other. Numbers are varints (LEB128).
struct ByteWriter {
    var bytes: [UInt8] = []

    mutating func byte(_ byte: UInt8) { bytes.append(byte) }

    mutating func number(_ number: UInt64) {
        var rest = number
        while rest > 0x7F {
            bytes.append(UInt8(truncatingIfNeeded: rest) | 0x80)
            rest >>= 7
        }
        bytes.append(UInt8(rest))
    }

    mutating func text(_ bytes: some Collection<UInt8>) {
        number(UInt64(bytes.count))
        self.bytes += bytes
    }

    mutating func message(_ message: BusMessage) {
        bytes += message.queue.bytes
        number(message.epoch)
        number(message.head)
        number(UInt64(message.events.count))
        guard !message.events.isEmpty else { return }
        var last = message.previous?.microseconds ?? 0
        number(UInt64(last))
        for event in message.events {
            number(UInt64(event.at.microseconds - last))
            last = event.at.microseconds
            change(event)
        }
    }

    mutating func change(_ event: QueueEvent) {
        switch event.change {
        case .configured(let configuration):
            byte(12)
            // Numbers, strings and dates that are none: encoding them cannot fail.
            text(try! JSONEncoder().encode(configuration))
        case .announced: byte(13)
        case .everyoneDisconnected: byte(14)
        case .opened: byte(1)
        case .paused: byte(2)
        case .resumed: byte(3)
        case .closed: byte(4)
        case .joined(let ticket): about(5, ticket)
        case .connected(let arrivals): self.arrivals(arrivals, at: event.at)
        case .disconnected(let ranges): about(7, ranges)
        case .lost(let ranges, let since, let until):
            about(15, ranges)
            number(UInt64(max(0, since.microseconds)))
            number(UInt64(max(0, until.microseconds)))
        case .admitted(let ticket, let until):
            about(8, ticket)
            number(UInt64(max(0, until.microseconds)))
        case .completed(let ticket): about(9, ticket)
        case .left(let ticket): about(10, ticket)
        case .expired(let ticket, let reason):
            about(11, ticket)
            byte(UInt8(ExpiryReason.allCases.firstIndex(of: reason)!))
        }
    }

    /// Tickets are counted from the one before, and moments from the event, so that a crowd that comes back is in one message.
    private mutating func arrivals(_ arrivals: [Arrival], at moment: Timestamp) {
        byte(6)
        number(UInt64(arrivals.count))
        var last: UInt64 = 0
        for arrival in arrivals {
            number(arrival.range.first.rawValue &- last)
            number(arrival.range.count)
            number(UInt64(max(0, (moment - (arrival.since ?? moment)).microseconds)))
            last = arrival.range.first.rawValue
        }
    }

    private mutating func about(_ kind: UInt8, _ ticket: Ticket) {
        byte(kind)
        number(ticket.rawValue)
    }

    private mutating func about(_ kind: UInt8, _ ranges: [TicketRange]) {
        byte(kind)
        number(UInt64(ranges.count))
        for range in ranges {
            number(range.first.rawValue)
            number(range.count)
        }
    }
}

/// Reads it. What is broken, or not ours, is refused.
struct ByteReader {
    private var rest: ArraySlice<UInt8>
    private let version: UInt8

    init(_ bytes: ArraySlice<UInt8>, version: UInt8) {
        rest = bytes
        self.version = version
    }

    var isAtEnd: Bool { rest.isEmpty }

    mutating func byte() throws(BusRefusal) -> UInt8 {
        guard let byte = rest.popFirst() else { throw .malformed }
        return byte
    }

    mutating func number() throws(BusRefusal) -> UInt64 {
        var (number, shift): (UInt64, UInt64) = (0, 0)
        while true {
            let next = try byte()
            guard shift < 63 || next <= 1 else { throw .malformed }
            number |= UInt64(next & 0x7F) << shift
            if next & 0x80 == 0 { return number }
            shift += 7
        }
    }

    /// How many of something follow, each of at least `size` bytes: no more than there is room for.
    mutating func count(size: Int) throws(BusRefusal) -> Int {
        let count = try number()
        guard count <= UInt64(rest.count / size) else { throw .malformed }
        return Int(count)
    }

    mutating func content() throws(BusRefusal) -> BusCodec.Content {
        switch try byte() {
        case 0: return .heartbeat(try number())
        case 1:
            var messages: [BusMessage] = []
            for _ in 0..<(try count(size: 19)) { messages.append(try message()) }
            return .messages(messages)
        default: throw .malformed
        }
    }

    private mutating func message() throws(BusRefusal) -> BusMessage {
        let queue: QueueID = try identifier()
        let epoch = try number()
        let head = try number()
        let count = try count(size: 2)
        guard UInt64(count) <= head else { throw .malformed }
        var events: [QueueEvent] = []
        let previous = version > 1 && count > 0 ? try number() : 0
        guard previous < 1 << 62 else { throw .malformed }
        var last = Int64(previous)
        for index in 0..<count {
            let passed = try number()
            guard passed < 1 << 62 - UInt64(last) else { throw .malformed }
            last += Int64(passed)
            let moment = Timestamp(microseconds: last)
            events.append(QueueEvent(seq: head - UInt64(count - 1 - index), at: moment, change: try change(at: moment)))
        }
        return BusMessage(
            queue: queue, epoch: epoch, head: head, previous: previous == 0 ? nil : Timestamp(microseconds: Int64(previous)), events: events
        )
    }

    mutating func change(at moment: Timestamp) throws(BusRefusal) -> QueueEvent.Change {
        switch try byte() {
        case 1: return .opened
        case 2: return .paused
        case 3: return .resumed
        case 4: return .closed
        case 5: return .joined(try ticket())
        case 6: return .connected(version > 2 ? try arrivals(at: moment) : try ranges().map { Arrival($0, since: nil) })
        case 7: return .disconnected(try ranges())
        case 8: return .admitted(try ticket(), until: Timestamp(microseconds: Int64(clamping: try number())))
        case 9: return .completed(try ticket())
        case 10: return .left(try ticket())
        case 11:
            let ticket = try ticket()
            let reason = Int(try byte())
            guard reason < ExpiryReason.allCases.count else { throw .malformed }
            return .expired(ticket, ExpiryReason.allCases[reason])
        case 12:
            guard let configuration = try? JSONDecoder().decode(QueueConfiguration.self, from: Data(try text())) else { throw .malformed }
            return .configured(configuration)
        case 13: return .announced
        case 14: return .everyoneDisconnected
        case 15:
            let (ranges, since, until) = (try ranges(), try number(), try number())
            return .lost(
                ranges, since: Timestamp(microseconds: Int64(clamping: since)), until: Timestamp(microseconds: Int64(clamping: until)))
        default: throw .malformed
        }
    }

    mutating func text() throws(BusRefusal) -> [UInt8] {
        let count = try count(size: 1)
        defer { rest = rest.dropFirst(count) }
        return Array(rest.prefix(count))
    }

    mutating func identifier<Subject>() throws(BusRefusal) -> Identifier<Subject> {
        guard let found = Identifier<Subject>(bytes: rest.prefix(16)) else { throw .malformed }
        rest = rest.dropFirst(16)
        return found
    }

    private mutating func ticket() throws(BusRefusal) -> Ticket { Ticket(rawValue: try number()) }

    private mutating func arrivals(at moment: Timestamp) throws(BusRefusal) -> [Arrival] {
        var arrivals: [Arrival] = []
        var last: UInt64 = 0
        for _ in 0..<(try count(size: 3)) {
            last &+= try number()
            let (range, span) = (try range(from: Ticket(rawValue: last)), try number())
            guard span <= UInt64(max(0, moment.microseconds)) else { throw .malformed }
            arrivals.append(Arrival(range, since: moment - Timestamp.Span(microseconds: Int64(span))))
        }
        return arrivals
    }

    private mutating func ranges() throws(BusRefusal) -> [TicketRange] {
        var ranges: [TicketRange] = []
        for _ in 0..<(try count(size: 2)) { ranges.append(try range(from: try ticket())) }
        return ranges
    }

    private mutating func range(from first: Ticket) throws(BusRefusal) -> TicketRange {
        let count = try number()
        guard count > 0, count < 1 << 56, first.number + count <= 1 << 56 else { throw .malformed }
        return TicketRange(first: first, count: count)
    }
}
