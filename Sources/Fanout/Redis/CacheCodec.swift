import Foundation
import QueueEngine
import QueueService
import Telemetry

/// What instances keep for each other, as bytes: signed like what they tell each other, and with its key in it, so that
/// whoever can write to Redis cannot put another value in its place.
struct CacheCodec: Sendable {
    let signer: BusCodec
    let instance: InstanceID

    /// nil where it would be too long.
    func encode(_ value: CacheValue, for key: CacheKey) -> [UInt8]? {
        var body = ByteWriter()
        body.key(key)
        switch value {
        case .averageWait(let seconds):
            body.byte(seconds == nil ? 0 : 1)
            body.number((seconds ?? 0).bitPattern)
        case .page(let entries):
            body.number(UInt64(entries.count))
            for entry in entries { body.entry(entry) }
        }
        let bytes = signer.sign(body: body.bytes, from: instance)
        return bytes.count <= BusCodec.limit ? bytes : nil
    }

    func decode(_ bytes: [UInt8], for key: CacheKey) throws(BusRefusal) -> CacheValue {
        var body = try signer.open(bytes).body
        guard try body.key() == key else { throw .forged }
        let value: CacheValue
        switch key.subject {
        case .averageWait:
            let isKnown = try body.byte() == 1
            let seconds = Double(bitPattern: try body.number())
            value = .averageWait(isKnown ? seconds : nil)
        case .page:
            var entries: [LogEntry] = []
            for _ in 0..<(try body.count(size: 4)) { entries.append(try body.entry()) }
            value = .page(entries)
        }
        guard body.isAtEnd else { throw .malformed }
        return value
    }
}

extension ByteWriter {
    fileprivate mutating func key(_ key: CacheKey) {
        bytes += key.queue.bytes
        number(key.epoch)
        switch key.subject {
        case .page(let page):
            byte(2)
            number(page)
        case .averageWait(let seq):
            byte(3)
            number(seq)
        }
    }

    fileprivate mutating func entry(_ entry: LogEntry) {
        number(entry.event.seq)
        number(UInt64(max(0, entry.event.at.microseconds)))
        change(entry.event)
        byte((entry.session == nil ? 0 : 1) | (entry.user == nil ? 0 : 2) | (entry.announcement == nil ? 0 : 4))
        if let session = entry.session { bytes += session.bytes }
        if let user = entry.user { text(user.utf8) }
        if let announcement = entry.announcement {
            text(announcement.text.utf8)
            byte(UInt8(Severity.allCases.firstIndex(of: announcement.severity)!))
            number(UInt64(max(0, announcement.publishedAt.microseconds)))
            number(UInt64(max(0, announcement.expiresAt?.microseconds ?? 0)))
        }
    }
}

extension ByteReader {
    fileprivate mutating func key() throws(BusRefusal) -> CacheKey {
        let (queue, epoch): (QueueID, UInt64) = (try identifier(), try number())
        switch try byte() {
        case 2: return CacheKey(queue: queue, epoch: epoch, subject: .page(try number()))
        case 3: return CacheKey(queue: queue, epoch: epoch, subject: .averageWait(try number()))
        default: throw .malformed
        }
    }

    fileprivate mutating func entry() throws(BusRefusal) -> LogEntry {
        let (seq, moment) = (try number(), try moment())
        let event = QueueEvent(seq: seq, at: moment, change: try change(at: moment))
        let parts = try byte()
        let session: SessionID? = parts & 1 == 0 ? nil : try identifier()
        let user = parts & 2 == 0 ? nil : String(decoding: try text(), as: UTF8.self)
        return LogEntry(event: event, session: session, user: user, announcement: parts & 4 == 0 ? nil : try announcement(event.seq))
    }

    private mutating func announcement(_ seq: UInt64) throws(BusRefusal) -> Announcement {
        let words = String(decoding: try text(), as: UTF8.self)
        let severity = Int(try byte())
        guard severity < Severity.allCases.count else { throw .malformed }
        let (published, expires) = (try moment(), try moment())
        return Announcement(
            seq: seq, text: words, severity: Severity.allCases[severity], publishedAt: published,
            expiresAt: expires.microseconds == 0 ? nil : expires)
    }

    private mutating func moment() throws(BusRefusal) -> Timestamp { Timestamp(microseconds: Int64(clamping: try number())) }
}
