import QueueEngine
import QueueService

/// JSON is written straight into the bytes that are sent: no tree, no encoder, no copy.
///
/// Whether a comma is needed is told by the byte before, so a writer has no state.
extension [UInt8] {
    mutating func object(_ members: (inout [UInt8]) -> Void) {
        append(0x7B)
        members(&self)
        append(0x7D)
    }

    mutating func array<S: Sequence>(_ elements: S, _ element: (inout [UInt8], S.Element) -> Void) {
        append(0x5B)
        for item in elements {
            separate()
            element(&self, item)
        }
        append(0x5D)
    }

    mutating func key(_ name: StaticString) {
        separate()
        append(0x22)
        append(literal: name)
        append(0x22)
        append(0x3A)
    }

    /// Text that is JSON already, as it stands in the source.
    mutating func append(literal text: StaticString) {
        append(contentsOf: UnsafeBufferPointer(start: text.utf8Start, count: text.utf8CodeUnitCount))
    }

    mutating func member(_ name: StaticString, _ value: some JSONWritable) {
        key(name)
        value.write(to: &self)
    }

    /// Left out where there is nothing.
    mutating func member(_ name: StaticString, ifPresent value: (some JSONWritable)?) {
        if let value { member(name, value) }
    }

    mutating func member(_ name: StaticString, object members: (inout [UInt8]) -> Void) {
        key(name)
        object(members)
    }

    private mutating func separate() {
        guard let last, last != 0x7B, last != 0x5B, last != 0x3A else { return }
        append(0x2C)
    }

    mutating func append(decimal value: UInt64, width: Int = 1) {
        append(addingCapacity: 20) { $0.append(decimal: value, width: width) }
    }
}

protocol JSONWritable {
    func write(to bytes: inout [UInt8])
}

/// `null`.
struct JSONNull: JSONWritable {
    func write(to bytes: inout [UInt8]) { bytes.append(contentsOf: "null".utf8) }
}

/// Text that is JSON already.
struct JSONText: JSONWritable {
    let text: String
    func write(to bytes: inout [UInt8]) { bytes.append(contentsOf: text.utf8) }
}

extension Optional: JSONWritable where Wrapped: JSONWritable {
    func write(to bytes: inout [UInt8]) {
        if let self { self.write(to: &bytes) } else { JSONNull().write(to: &bytes) }
    }
}

extension Bool: JSONWritable {
    func write(to bytes: inout [UInt8]) { bytes.append(contentsOf: (self ? "true" : "false").utf8) }
}

extension Int: JSONWritable {
    func write(to bytes: inout [UInt8]) { bytes.append(addingCapacity: 20) { $0.append(integer: self) } }
}

extension UInt64: JSONWritable {
    func write(to bytes: inout [UInt8]) { bytes.append(decimal: self) }
}

extension Double: JSONWritable {
    func write(to bytes: inout [UInt8]) { bytes.append(addingCapacity: 20) { $0.append(number: self) } }
}

extension String: JSONWritable {
    func write(to bytes: inout [UInt8]) {
        var text = self
        bytes.append(0x22)
        text.withUTF8 { utf8 in
            // Most text is as it is.
            let isPlain = utf8.allSatisfy { $0 >= 0x20 && $0 != 0x22 && $0 != 0x5C }
            if isPlain { bytes.append(contentsOf: utf8) } else { String.escape(utf8, into: &bytes) }
        }
        bytes.append(0x22)
    }

    private static func escape(_ utf8: UnsafeBufferPointer<UInt8>, into bytes: inout [UInt8]) {
        for byte in utf8 {
            switch byte {
            case 0x22, 0x5C: bytes.append(contentsOf: [0x5C, byte])
            case 0x0A: bytes.append(contentsOf: [0x5C, 0x6E])
            case 0x00..<0x20:
                bytes.append(contentsOf: "\\u00".utf8)
                for digit in [byte >> 4, byte & 15] { bytes.append(digit < 10 ? 0x30 + digit : 0x57 + digit) }
            default: bytes.append(byte)
            }
        }
    }
}

/// RFC 3339 in UTC with milliseconds.
extension Timestamp: JSONWritable {
    func write(to bytes: inout [UInt8]) { bytes.append(addingCapacity: 40) { write(to: &$0) } }

    /// At most 40 bytes.
    func write(to bytes: inout OutputSpan<UInt8>) {
        let (days, rest) = (microseconds / 86_400_000_000, microseconds % 86_400_000_000)
        let (year, month, day) = Timestamp.civil(days)
        let seconds = rest / 1_000_000
        bytes.append(0x22)
        func part(_ value: Int64, _ width: Int, _ separator: UInt8) {
            bytes.append(decimal: UInt64(value), width: width)
            bytes.append(separator)
        }
        part(year, 4, 0x2D)
        part(month, 2, 0x2D)
        part(day, 2, 0x54)
        part(seconds / 3_600, 2, 0x3A)
        part(seconds / 60 % 60, 2, 0x3A)
        part(seconds % 60, 2, 0x2E)
        part(rest / 1_000 % 1_000, 3, 0x5A)
        bytes.append(0x22)
    }

    /// Days since 1970 as year, month, day (Hinnant, "chrono-Compatible Low-Level Date Algorithms", civil_from_days).
    private static func civil(_ days: Int64) -> (Int64, Int64, Int64) {
        let shifted = days + 719_468
        let (era, dayOfEra) = (shifted / 146_097, shifted % 146_097)
        let yearOfEra = (dayOfEra - dayOfEra / 1_460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365
        let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
        let march = (5 * dayOfYear + 2) / 153
        let month = march < 10 ? march + 3 : march - 9
        return (yearOfEra + era * 400 + (month <= 2 ? 1 : 0), month, dayOfYear - (153 * march + 2) / 5 + 1)
    }
}

extension Identifier: JSONWritable {
    func write(to bytes: inout [UInt8]) {
        bytes.append(addingCapacity: 38) { text in
            text.append(0x22)
            write(to: &text)
            text.append(0x22)
        }
    }
}
