import Foundation
import QueueEngine
import QueueService
import Testing

@testable import Server

/// `docs/protocol.md` says what the server does: its examples are what the server's own code makes.
@Suite struct ProtocolDocumentTests {
    static let text = try! String(
        contentsOf: URL(fileURLWithPath: #filePath).deletingLastPathComponent().appendingPathComponent("../../docs/protocol.md"),
        encoding: .utf8)

    static func examples(_ kind: String) throws -> [JSONValue] {
        try text.matches(of: try Regex("```json \(kind)\n((?s:.*?))```")).map {
            try #require(Array($0[1].substring!.utf8).withUnsafeBytes { JSONValue($0) })
        }
    }

    static func json(_ write: (inout [UInt8]) -> Void) throws -> JSONValue {
        var bytes: [UInt8] = []
        write(&bytes)
        return try #require(bytes.withUnsafeBytes { JSONValue($0) })
    }

    static let at = Timestamp(rfc3339: "2026-11-24T18:50:49.315Z")!
    static let record = QueueRecord(
        id: QueueID("01a20ee4-4170-7fdd-9aa9-da5bb2f7a91e")!, tenant: TenantID(high: 0, low: 0), epoch: 0x8f6f_06bb_c6f4_79a7, slug: "demo",
        name: "Demo", redirectURL: "https://shop.example/in", configuration: QueueConfiguration(), createdAt: at)
    static let session = SessionID("01a20ee5-7861-7148-84f7-2896e354b25f")!

    /// A line that drains by a release every two seconds, and one that stands still.
    static func line(_ rate: Int) -> LiveFrames.Line {
        var state = QueueState()
        var log: [QueueEvent] = []
        try! state.configure(QueueConfiguration(releaseRatePerMinute: rate), at: at, &log)
        return LiveFrames.Line(waiting: 60, drain: state.drain(at: at), at: at)
    }

    /// Where people leave, the rate depends on the place and is written for each; and the widest numbers have room.
    @Test func aLineIsWrittenForEachPlace() throws {
        var state = QueueState()
        var log: [QueueEvent] = []
        try! state.configure(QueueConfiguration(releaseRatePerMinute: 30), at: Self.at, &log)
        try state.open(at: Self.at, &log)
        let tickets = try (0..<20).map { _ in try state.join(lane: 0, at: Self.at, &log) }
        try state.leave(tickets[3], at: Self.at, &log)
        let now = Timestamp(microseconds: Self.at.microseconds + 10_000_000)
        let drain = state.drain(at: now)
        #expect(!drain.isUniform)
        let line = LiveFrames.Line(waiting: .max, drain: drain, at: now)
        _ = try Self.json { LiveFrames.position(.max, line, reason: nil, into: &$0) }
        for position in [1, 41, 1_000_000] {
            guard case .object(let frame) = try Self.json({ LiveFrames.position(position, line, reason: nil, into: &$0) }),
                case .number(let rate) = frame["rate"], case .object(let wait) = frame["wait"], case .number(let p50) = wait["p50Seconds"]
            else {
                Issue.record("no frame at \(position)")
                continue
            }
            #expect(frame["position"] == .number(Double(position)))
            #expect(abs(rate - drain.rate(at: position)) <= 0.000_05 + rate.ulp && abs(p50 - drain.wait(at: position)!.p50Seconds) <= 0.051)
        }
    }

    @Test func theServersFramesAreTheExamples() throws {
        let announcement = Announcement(seq: 17, text: "Doors open at eight.", severity: .info, publishedAt: Self.at, expiresAt: nil)
        let made = try [
            Self.json {
                LiveFrames.joined(Self.session, token: "st1.…", Self.record, .open, position: 41, Self.line(30), reason: nil, into: &$0)
            },
            Self.json { LiveFrames.position(41, Self.line(30), reason: nil, into: &$0) },
            Self.json { LiveFrames.position(41, Self.line(0), reason: "priority_lane", into: &$0) },
            Self.json { LiveFrames.admitted("eyJ…", redirect: Self.record.redirect(with: "eyJ…"), expiresAt: Self.at, into: &$0) },
            Self.json { LiveFrames.announcement(announcement, into: &$0) },
            Self.json { LiveFrames.queue(.paused, into: &$0) },
            Self.json { LiveFrames.state(staleSince: Self.at, into: &$0) },
            Self.json { LiveFrames.state(staleSince: nil, into: &$0) },
            Self.json { LiveFrames.reconnect(afterSeconds: 4.25, into: &$0) },
            Self.json { LiveFrames.ended("expired", into: &$0) },
            Self.json { LiveFrames.error(Problem(ServiceError.refused(.full)), into: &$0) },
        ]
        let examples = try Self.examples("server")
        #expect(examples.count == made.count)
        for (example, frame) in zip(examples, made) { #expect(example == frame) }
    }

    @Test func anEventIsTheExample() throws {
        let entry = LogEntry(
            event: QueueEvent(seq: 5, at: Self.at, change: .joined(Ticket(lane: 0, number: 2))), session: Self.session, user: "bob")
        let made = try Self.json { entry.write(queue: Self.record.id, epoch: Self.record.epoch, into: &$0) }
        #expect(try Self.examples("event") == [made])
    }

    @Test func theCloseCodesAreTheTable() {
        let table = Self.text.matches(of: /\| (\d{4}) \| (.*?) \|/).map { (UInt16($0.1)!, String($0.2)) }
        #expect(table.map(\.0) == LiveClose.allCases.map(\.rawValue))
        #expect(table.map(\.1) == LiveClose.allCases.map(\.reason))
    }

    @Test func everyTypeOfEventIsInTheTable() {
        let ticket = Ticket(lane: 0, number: 1)
        let changes: [QueueEvent.Change] = [
            .configured(QueueConfiguration()), .opened, .paused, .resumed, .closed, .joined(ticket), .connected([]),
            .disconnected([]),
            .everyoneDisconnected, .admitted(ticket, until: Self.at), .completed(ticket), .left(ticket), .expired(ticket, .grace),
            .announced,
        ]
        for change in changes { #expect(Self.text.contains("`\(change.name)`"), "\(change.name)") }
    }
}
