import QueueEngine
import QueueService
import Telemetry
import Testing
import TestSupport

@testable import Fanout

@Suite struct BusCodecTests {
    private let codec = BusCodec(secret: Array(0..<32))
    private let sender = InstanceID(high: 3, low: 4)

    private func message(_ random: inout SeededRandom, events: Int) -> BusMessage {
        let head = UInt64.random(in: UInt64(events)...1 << 40, using: &random)
        var at = Timestamp(seconds: 1_700_000_000)
        func ticket() -> Ticket {
            Ticket(lane: Int.random(in: 0...3, using: &random), number: UInt64.random(in: 1...1 << 40, using: &random))
        }
        func ranges() -> [TicketRange] {
            (0..<Int.random(in: 1...3, using: &random)).map { _ in
                TicketRange(first: ticket(), count: UInt64.random(in: 1...1_000, using: &random))
            }
        }
        let all = (0..<events).map { index in
            at = at + .milliseconds(Int.random(in: 0...5_000, using: &random))
            let changes: [QueueEvent.Change] = [
                .opened, .paused, .resumed, .closed, .joined(ticket()), .connected(ranges().map { Arrival($0, since: nil) }),
                .connected(ranges().enumerated().map { Arrival($1, since: $0 == 0 ? .distantPast : at - .seconds($0)) }),
                .disconnected(ranges()),
                .lost(ranges(), since: Timestamp(seconds: 1), until: Timestamp(seconds: 2)),
                .admitted(ticket(), until: at + .seconds(120)), .completed(ticket()), .left(ticket()),
                .expired(ticket(), ExpiryReason.allCases.randomElement(using: &random)!), .everyoneDisconnected,
            ]
            return QueueEvent(seq: head - UInt64(events - 1 - index), at: at, change: changes.randomElement(using: &random)!)
        }
        let previous = events > 0 && random.chance(90) ? Timestamp(seconds: 1_600_000_000) : nil
        return BusMessage(
            queue: QueueID(high: random.next(), low: random.next()), epoch: random.next(), head: head, previous: previous, events: all)
    }

    @Test func whatIsSentIsWhatComes() throws {
        var random = SeededRandom(seed: TestSeed.value)
        for _ in 0..<300 {
            let messages = (0..<Int.random(in: 0...4, using: &random)).map { _ in
                message(&random, events: Int.random(in: 0...20, using: &random))
            }
            let (from, content) = try codec.decode(codec.encode(.messages(messages), from: sender))
            #expect(from == sender && content == .messages(messages))
        }
        #expect(try codec.decode(codec.encode(.heartbeat(.max), from: sender)).content == .heartbeat(.max))
    }

    /// Whatever is changed in a message, and whoever does not know the secret, is found out.
    @Test func whatWasNotSentIsRefused() throws {
        var random = SeededRandom(seed: TestSeed.value)
        let bytes = codec.encode(.messages([message(&random, events: 3)]), from: sender)
        for index in bytes.indices {
            var changed = bytes
            changed[index] ^= UInt8(1) << UInt8.random(in: 0..<8, using: &random)
            #expect(throws: index == 0 ? BusRefusal.version : .forged) { try codec.decode(changed) }
            #expect(throws: BusRefusal.self) { try codec.decode(Array(bytes[..<index])) }
        }
        #expect(throws: BusRefusal.forged) { try BusCodec(secret: Array(1..<33)).decode(bytes) }
        #expect(throws: BusRefusal.version) { try codec.decode([]) }
        #expect(throws: BusRefusal.size) { try codec.decode([1] + [UInt8](repeating: 0, count: BusCodec.limit)) }
    }

    /// Also who knows the secret cannot make a reader fail: a neighbouring version may have other ideas of a body.
    @Test func aBodyThatIsNoneIsRefused() throws {
        var random = SeededRandom(seed: TestSeed.value)
        for _ in 0..<20_000 {
            let body = (0..<Int.random(in: 1...60, using: &random)).map { _ in
                UInt8.random(in: 0...12, using: &random) | (random.chance(10) ? 0xF0 : 0)
            }
            let signed = codec.sign(body: [1] + body, from: sender)
            _ = try? codec.decode(signed)
        }
        #expect(throws: BusRefusal.malformed) { try codec.decode(codec.sign(body: [0, 1, 1], from: sender)) }
        #expect(throws: BusRefusal.malformed) {
            try codec.decode(codec.sign(body: [0] + [UInt8](repeating: 0xFF, count: 10), from: sender))
        }
    }

    /// What is too long is told by the heads alone, and nothing of it is lost.
    @Test func noMessageIsTooLong() throws {
        var random = SeededRandom(seed: TestSeed.value)
        let messages = (0..<8).map { message(&random, events: $0 == 3 ? 20_000 : 900) }
        let parts = codec.encode(messages, from: sender)
        #expect(parts.allSatisfy { $0.count <= BusCodec.limit })
        let heard = try parts.flatMap { bytes -> [BusMessage] in
            if case .messages(let some) = try codec.decode(bytes).content { some } else { [] }
        }
        #expect(heard.map(\.head) == messages.map(\.head))
        #expect(heard[3].events.isEmpty && heard[0] == messages[0])
    }

    /// Recorded from each version. Instances of neighbouring versions run side by side: whoever changes how these are read
    /// gives them another version number.
    @Test func theVersionsAreUnderstood() throws {
        let queue = QueueID(high: 0x0192_0000_0000_7000, low: 0x8000_0000_0000_0001)
        let at = Timestamp(seconds: 1_700_000_000)
        let ticket = Ticket(lane: 1, number: 300)
        let changes: [QueueEvent.Change] = [
            .opened, .paused, .resumed, .joined(ticket), .connected([Arrival(TicketRange(first: ticket, count: 2), since: nil)]),
            .disconnected([TicketRange(first: ticket, count: 200)]), .admitted(ticket, until: at + .seconds(60)), .completed(ticket),
            .left(ticket), .expired(ticket, .grace), .expired(ticket, .admission), .expired(ticket, .removed), .closed,
        ]
        let events = changes.enumerated().map { QueueEvent(seq: 88 + UInt64($0), at: at + .seconds($0), change: $1) }
        func message(_ previous: Timestamp?) -> BusMessage {
            BusMessage(queue: queue, epoch: 9, head: 100, previous: previous, events: events)
        }
        #expect(try codec.decode(Self.first).content == .messages([message(nil)]))
        let second = message(at - .seconds(1))
        #expect(try codec.decode(Self.second).content == .messages([second]))
        #expect(codec.encode(.messages([second]), from: sender) == Self.second)
    }

    private static let first: [UInt8] = [
        0x01, 0x11, 0xA1, 0x6C, 0x46, 0xA9, 0xAD, 0xE8, 0x96, 0xEE, 0xFB, 0xBA, 0x64, 0x58, 0x30, 0xF3, 0x6F, 0x00, 0x00, 0x00,
        0x00, 0x00, 0x00, 0x00, 0x03, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x04, 0x01, 0x01, 0x01, 0x92, 0x00, 0x00, 0x00,
        0x00, 0x70, 0x00, 0x80, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x01, 0x09, 0x64, 0x0D, 0x80, 0x80, 0xF9, 0xC0, 0xC1, 0xC4,
        0x82, 0x03, 0x01, 0xC0, 0x84, 0x3D, 0x02, 0xC0, 0x84, 0x3D, 0x03, 0xC0, 0x84, 0x3D, 0x05, 0xAC, 0x82, 0x80, 0x80, 0x80,
        0x80, 0x80, 0x80, 0x01, 0xC0, 0x84, 0x3D, 0x06, 0x01, 0xAC, 0x82, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x01, 0x02, 0xC0,
        0x84, 0x3D, 0x07, 0x01, 0xAC, 0x82, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x01, 0xC8, 0x01, 0xC0, 0x84, 0x3D, 0x08, 0xAC,
        0x82, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x01, 0x80, 0x8E, 0xC7, 0xDD, 0xC1, 0xC4, 0x82, 0x03, 0xC0, 0x84, 0x3D, 0x09,
        0xAC, 0x82, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x01, 0xC0, 0x84, 0x3D, 0x0A, 0xAC, 0x82, 0x80, 0x80, 0x80, 0x80, 0x80,
        0x80, 0x01, 0xC0, 0x84, 0x3D, 0x0B, 0xAC, 0x82, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x01, 0x00, 0xC0, 0x84, 0x3D, 0x0B,
        0xAC, 0x82, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x01, 0x01, 0xC0, 0x84, 0x3D, 0x0B, 0xAC, 0x82, 0x80, 0x80, 0x80, 0x80,
        0x80, 0x80, 0x01, 0x02, 0xC0, 0x84, 0x3D, 0x04,
    ]

    private static let second: [UInt8] = [
        0x02, 0x9A, 0x33, 0x6B, 0xBC, 0xD8, 0x3C, 0xEC, 0xF8, 0xC2, 0x91, 0x11, 0x0D, 0xAC, 0xC2, 0x71, 0xA4, 0x00, 0x00, 0x00,
        0x00, 0x00, 0x00, 0x00, 0x03, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x04, 0x01, 0x01, 0x01, 0x92, 0x00, 0x00, 0x00,
        0x00, 0x70, 0x00, 0x80, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x01, 0x09, 0x64, 0x0D, 0xC0, 0xFB, 0xBB, 0xC0, 0xC1, 0xC4,
        0x82, 0x03, 0xC0, 0x84, 0x3D, 0x01, 0xC0, 0x84, 0x3D, 0x02, 0xC0, 0x84, 0x3D, 0x03, 0xC0, 0x84, 0x3D, 0x05, 0xAC, 0x82,
        0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x01, 0xC0, 0x84, 0x3D, 0x06, 0x01, 0xAC, 0x82, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80,
        0x01, 0x02, 0xC0, 0x84, 0x3D, 0x07, 0x01, 0xAC, 0x82, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x01, 0xC8, 0x01, 0xC0, 0x84,
        0x3D, 0x08, 0xAC, 0x82, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x01, 0x80, 0x8E, 0xC7, 0xDD, 0xC1, 0xC4, 0x82, 0x03, 0xC0,
        0x84, 0x3D, 0x09, 0xAC, 0x82, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x01, 0xC0, 0x84, 0x3D, 0x0A, 0xAC, 0x82, 0x80, 0x80,
        0x80, 0x80, 0x80, 0x80, 0x01, 0xC0, 0x84, 0x3D, 0x0B, 0xAC, 0x82, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x01, 0x00, 0xC0,
        0x84, 0x3D, 0x0B, 0xAC, 0x82, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x01, 0x01, 0xC0, 0x84, 0x3D, 0x0B, 0xAC, 0x82, 0x80,
        0x80, 0x80, 0x80, 0x80, 0x80, 0x01, 0x02, 0xC0, 0x84, 0x3D, 0x04,
    ]
}
