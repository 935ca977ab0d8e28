import QueueEngine
import QueueService
import Telemetry
import Testing
import TestSupport

@testable import Fanout

@Suite struct CacheCodecTests {
    private let codec = CacheCodec(signer: BusCodec(secret: Array(0..<32)), instance: InstanceID(high: 3, low: 4))
    private let queue = QueueID(high: 0x0192_0000_0000_7000, low: 0x8000_0000_0000_0001)
    private func key(_ subject: CacheKey.Subject, epoch: UInt64 = 7) -> CacheKey { CacheKey(queue: queue, epoch: epoch, subject: subject) }

    private var page: CacheValue {
        let at = Timestamp(seconds: 1_700_000_000)
        let words = Announcement(seq: 3, text: "Gleich geht es weiter. ✓", severity: .warning, publishedAt: at, expiresAt: at + .seconds(9))
        let lasting = Announcement(seq: 4, text: "", severity: .info, publishedAt: at, expiresAt: nil)
        let session = SessionID(high: 5, low: 6)
        return .page([
            LogEntry(event: QueueEvent(seq: 1, at: at, change: .configured(QueueConfiguration(maxConcurrentUsers: 17, graceSeconds: 3)))),
            LogEntry(event: QueueEvent(seq: 2, at: at, change: .joined(Ticket(lane: 1, number: 9))), session: session, user: "ä"),
            LogEntry(event: QueueEvent(seq: 3, at: at, change: .announced), announcement: words),
            LogEntry(event: QueueEvent(seq: 4, at: at, change: .announced), announcement: lasting),
            LogEntry(event: QueueEvent(seq: 5, at: at, change: .left(Ticket(lane: 1, number: 9))), session: session),
        ])
    }

    @Test func whatIsKeptIsWhatComes() throws {
        let values: [(CacheKey, CacheValue)] = [
            (key(.page(0)), page), (key(.page(.max)), .page([])), (key(.averageWait(3)), .averageWait(12.5)),
            (key(.averageWait(4)), .averageWait(nil)),
        ]
        for (key, value) in values { #expect(try codec.decode(#require(codec.encode(value, for: key)), for: key) == value) }
        let long = LogEntry(
            event: QueueEvent(seq: 1, at: Timestamp(seconds: 1), change: .opened), user: String(repeating: "a", count: 70_000))
        #expect(codec.encode(.page([long]), for: key(.page(0))) == nil)
    }

    /// Another key's value, a changed one and one of somebody without the secret.
    @Test func whatWasNotKeptUnderThisKeyIsRefused() throws {
        let bytes = try #require(codec.encode(page, for: key(.page(1))))
        for other in [key(.page(2)), key(.page(1), epoch: 8), key(.averageWait(1))] {
            #expect(throws: BusRefusal.forged) { try codec.decode(bytes, for: other) }
        }
        for index in bytes.indices {
            var changed = bytes
            changed[index] ^= 1
            #expect(throws: BusRefusal.self) { try codec.decode(changed, for: key(.page(1))) }
            #expect(throws: BusRefusal.self) { try codec.decode(Array(bytes[..<index]), for: key(.page(1))) }
        }
        // Signed, and nonsense.
        var random = SeededRandom(seed: TestSeed.value)
        let head = bytes[33..<62]
        for _ in 0..<20_000 {
            let rest = (0..<Int.random(in: 0...60, using: &random)).map { _ in UInt8.random(in: 0...15, using: &random) }
            _ = try? codec.decode(codec.signer.sign(body: head + rest, from: codec.instance), for: key(.page(1)))
        }
    }
}
