public import QueueEngine

/// A UUID that says what it names: a queue's cannot be taken for a session's.
///
/// Version 7 (RFC 9562 §5.7): rows that are made together lie together in an index.
public struct Identifier<Subject>: Sendable, Hashable, CustomStringConvertible {
    public let high: UInt64
    public let low: UInt64

    public init(high: UInt64, low: UInt64) {
        self.high = high
        self.low = low
    }

    /// A new one, from a time and 80 random bits.
    public init(at moment: Timestamp, random: (UInt64, UInt64)) {
        let milliseconds = UInt64(bitPattern: moment.microseconds / 1_000)
        high = milliseconds << 16 | 0x7000 | random.0 & 0x0FFF
        low = 0x8000_0000_0000_0000 | random.1 & 0x3FFF_FFFF_FFFF_FFFF
    }

    /// When it was made, to the millisecond.
    public var madeAt: Timestamp { Timestamp(microseconds: Int64(high >> 16) * 1_000) }

    /// Reads the 36 characters of a UUID; nil for anything else.
    public init?(_ text: some StringProtocol) {
        let bytes = Array(text.utf8)
        guard bytes.count == 36 else { return nil }
        var words: (UInt64, UInt64) = (0, 0)
        var digits = 0
        for (index, byte) in bytes.enumerated() {
            if [8, 13, 18, 23].contains(index) {
                guard byte == 0x2D else { return nil }
                continue
            }
            let value: UInt64
            switch byte {
            case 0x30...0x39: value = UInt64(byte - 0x30)
            case 0x61...0x66: value = UInt64(byte - 0x57)
            case 0x41...0x46: value = UInt64(byte - 0x37)
            default: return nil
            }
            if digits < 16 { words.0 = words.0 << 4 | value } else { words.1 = words.1 << 4 | value }
            digits += 1
        }
        (high, low) = words
    }

    /// 16 bytes, the most significant first: as a store keeps it.
    public init?(bytes: some Collection<UInt8>) {
        guard bytes.count == 16 else { return nil }
        high = bytes.prefix(8).reduce(0) { $0 << 8 | UInt64($1) }
        low = bytes.dropFirst(8).reduce(0) { $0 << 8 | UInt64($1) }
    }

    public var bytes: [UInt8] {
        (0..<8).map { UInt8(truncatingIfNeeded: high >> UInt64(56 - 8 * $0)) }
            + (0..<8).map { UInt8(truncatingIfNeeded: low >> UInt64(56 - 8 * $0)) }
    }

    public var description: String {
        let digits = Array("0123456789abcdef".utf8)
        var text: [UInt8] = []
        text.reserveCapacity(36)
        for (index, byte) in bytes.enumerated() {
            if [4, 6, 8, 10].contains(index) { text.append(0x2D) }
            text.append(digits[Int(byte >> 4)])
            text.append(digits[Int(byte & 15)])
        }
        return String(decoding: text, as: UTF8.self)
    }
}

extension Identifier: Comparable {
    /// By age.
    public static func < (a: Identifier, b: Identifier) -> Bool { (a.high, a.low) < (b.high, b.low) }
}

public typealias TenantID = Identifier<Tenant>
public typealias QueueID = Identifier<QueueRecord>
public typealias SessionID = Identifier<SessionRecord>
public typealias KeyID = Identifier<APIKey>
