import Crypto
import Foundation
import QueueEngine
import QueueService
import Telemetry

/// What instances tell each other, as bytes. Version 2:
///
///     version (1 byte) · code (16) · sender (16) · body
///
/// The code is HMAC-SHA256 over all the rest, cut to 16 bytes, with a secret of the store: whoever can write to the
/// channel and does not serve the store cannot make anybody believe anything. Numbers in the body are varints (LEB128).
///
/// Version 1, which is read too, does not say when the event before its first one was.
struct BusCodec: Sendable {
    enum Content: Equatable {
        /// The number of an instance's sign of life to itself.
        case heartbeat(UInt64)
        case messages([BusMessage])
    }

    static let version: UInt8 = 2
    private static let readable: ClosedRange<UInt8> = 1...2
    /// Bytes of one message. What does not fit is told by the head of its log alone.
    static let limit = 65_536
    private static let codeBytes = 16
    private static let headBytes = 1 + codeBytes + 16

    private let key: SymmetricKey

    init(secret: [UInt8]) { key = SymmetricKey(data: secret) }

    // MARK: Writing

    func encode(_ content: Content, from sender: InstanceID) -> [UInt8] {
        var body = ByteWriter()
        switch content {
        case .heartbeat(let number):
            body.byte(0)
            body.number(number)
        case .messages(let messages):
            body.byte(1)
            body.number(UInt64(messages.count))
            for message in messages { body.message(message) }
        }
        return sign(body: body.bytes, from: sender)
    }

    func sign(body: [UInt8], from sender: InstanceID) -> [UInt8] {
        let code = code(of: [BusCodec.version] + sender.bytes + body)
        return [BusCodec.version] + code + sender.bytes + body
    }

    private func code(of signed: [UInt8]) -> some Sequence<UInt8> {
        HMAC<SHA256>.authenticationCode(for: signed, using: key).prefix(BusCodec.codeBytes)
    }

    /// Several where one would be too long.
    func encode(_ messages: [BusMessage], from sender: InstanceID) -> [[UInt8]] {
        let bytes = encode(.messages(messages), from: sender)
        if bytes.count <= BusCodec.limit { return [bytes] }
        guard messages.count > 1 else { return [encode(.messages(messages.map(\.headOnly)), from: sender)] }
        let half = messages.count / 2
        return encode(Array(messages[..<half]), from: sender) + encode(Array(messages[half...]), from: sender)
    }

    // MARK: Reading

    func decode(_ bytes: [UInt8]) throws(BusRefusal) -> (sender: InstanceID, content: Content) {
        guard let version = bytes.first, BusCodec.readable.contains(version) else { throw .version }
        guard bytes.count <= BusCodec.limit, bytes.count > BusCodec.headBytes else { throw .size }
        let code = bytes[1..<1 + BusCodec.codeBytes]
        let signed = [version] + bytes[(1 + BusCodec.codeBytes)...]
        let truth = self.code(of: signed)
        // In a time that does not depend on where they differ.
        guard zip(code, truth).reduce(0, { $0 | ($1.0 ^ $1.1) }) == 0 else { throw .forged }
        guard let sender = InstanceID(bytes: bytes[1 + BusCodec.codeBytes..<BusCodec.headBytes]) else { throw .malformed }
        var body = ByteReader(bytes[BusCodec.headBytes...], version: version)
        let content = try body.content()
        guard body.isAtEnd else { throw .malformed }
        return (sender, content)
    }
}

extension BusMessage {
    /// Tells that there is something new, and not what.
    var headOnly: BusMessage { BusMessage(queue: queue, epoch: epoch, head: head, previous: nil, events: []) }
}

// MARK: - The body

private struct ByteWriter {
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

    private mutating func change(_ event: QueueEvent) {
        switch event.change {
        case .configured, .announced: preconditionFailure("what a queue is and what is said in it is the store's to tell")
        case .opened: byte(1)
        case .paused: byte(2)
        case .resumed: byte(3)
        case .closed: byte(4)
        case .joined(let ticket): about(5, ticket)
        case .connected(let ranges): about(6, ranges)
        case .disconnected(let ranges): about(7, ranges)
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

private struct ByteReader {
    private var rest: ArraySlice<UInt8>
    private let version: UInt8

    init(_ bytes: ArraySlice<UInt8>, version: UInt8) {
        rest = bytes
        self.version = version
    }

    var isAtEnd: Bool { rest.isEmpty }

    private mutating func byte() throws(BusRefusal) -> UInt8 {
        guard let byte = rest.popFirst() else { throw .malformed }
        return byte
    }

    private mutating func number() throws(BusRefusal) -> UInt64 {
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
    private mutating func count(size: Int) throws(BusRefusal) -> Int {
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
        guard let queue = QueueID(bytes: rest.prefix(16)) else { throw .malformed }
        rest = rest.dropFirst(16)
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
            events.append(
                QueueEvent(seq: head - UInt64(count - 1 - index), at: Timestamp(microseconds: last), change: try change()))
        }
        return BusMessage(
            queue: queue, epoch: epoch, head: head, previous: previous == 0 ? nil : Timestamp(microseconds: Int64(previous)), events: events
        )
    }

    private mutating func change() throws(BusRefusal) -> QueueEvent.Change {
        switch try byte() {
        case 1: return .opened
        case 2: return .paused
        case 3: return .resumed
        case 4: return .closed
        case 5: return .joined(try ticket())
        case 6: return .connected(try ranges())
        case 7: return .disconnected(try ranges())
        case 8: return .admitted(try ticket(), until: Timestamp(microseconds: Int64(clamping: try number())))
        case 9: return .completed(try ticket())
        case 10: return .left(try ticket())
        case 11:
            let ticket = try ticket()
            let reason = Int(try byte())
            guard reason < ExpiryReason.allCases.count else { throw .malformed }
            return .expired(ticket, ExpiryReason.allCases[reason])
        default: throw .malformed
        }
    }

    private mutating func ticket() throws(BusRefusal) -> Ticket { Ticket(rawValue: try number()) }

    private mutating func ranges() throws(BusRefusal) -> [TicketRange] {
        var ranges: [TicketRange] = []
        for _ in 0..<(try count(size: 2)) {
            let (first, count) = (try ticket(), try number())
            guard count > 0, count < 1 << 56, first.number + count <= 1 << 56 else { throw .malformed }
            ranges.append(TicketRange(first: first, count: count))
        }
        return ranges
    }
}
