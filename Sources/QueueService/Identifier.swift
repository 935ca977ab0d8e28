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

    /// A new one, from a time and 74 random bits.
    public init(at moment: Timestamp, random: (UInt64, UInt64)) {
        let milliseconds = UInt64(bitPattern: moment.microseconds / 1_000)
        high = milliseconds << 16 | 0x7000 | random.0 & 0x0FFF
        low = 0x8000_0000_0000_0000 | random.1 & 0x3FFF_FFFF_FFFF_FFFF
    }

    /// One of several that are made together, from a time, a counter of 12 bits (RFC 9562 §6.2, method 1) and 62 random bits: the
    /// first 4,096 are in their order.
    public init(at moment: Timestamp, index: Int, random: UInt64) { self.init(at: moment, random: (UInt64(min(index, 0x0FFF)), random)) }

    /// When it was made, to the millisecond.
    public var madeAt: Timestamp { Timestamp(microseconds: Int64(high >> 16) * 1_000) }

    /// Reads the 36 characters of a UUID; nil for anything else.
    public init?(_ text: String) {
        guard text.utf8.count == 36 else { return nil }
        var words: (UInt64, UInt64) = (0, 0)
        var index = 0
        for byte in text.utf8 {
            defer { index += 1 }
            if Identifier.hyphens & 1 << index != 0 {
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
            words = (words.0 << 4 | words.1 >> 60, words.1 << 4 | value)
        }
        (high, low) = words
    }

    /// Where the text has a hyphen (RFC 9562 §4), a bit each.
    private static var hyphens: UInt64 { 1 << 8 | 1 << 13 | 1 << 18 | 1 << 23 }

    /// 16 bytes, the most significant first: as a store keeps it.
    public init?(bytes: some Collection<UInt8>) {
        guard bytes.count == 16 else { return nil }
        high = bytes.prefix(8).reduce(0) { $0 << 8 | UInt64($1) }
        low = bytes.dropFirst(8).reduce(0) { $0 << 8 | UInt64($1) }
    }

    public var bytes: [UInt8] { withUnsafeBytes(of: (high.bigEndian, low.bigEndian)) { Array($0) } }

    public var description: String {
        String(unsafeUninitializedCapacity: 36) { buffer in
            var text = OutputSpan(buffer: buffer, initializedCount: 0)
            write(to: &text)
            return text.finalize(for: buffer)
        }
    }

    /// Writes the 36 characters of a UUID.
    public func write(to text: inout OutputSpan<UInt8>) {
        var (first, rest) = (high, low)
        for index in 0..<36 {
            if Identifier.hyphens & 1 << index != 0 {
                text.append(0x2D)
                continue
            }
            let digit = UInt8(truncatingIfNeeded: first >> 60)
            text.append(digit < 10 ? 0x30 + digit : 0x57 + digit)
            (first, rest) = (first << 4 | rest >> 60, rest << 4)
        }
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
