/// Numbers and literals into room that was made once: what is written for everybody asks for room once a frame, not
/// once a piece. There must be enough.
extension OutputSpan<UInt8> {
    mutating func append(_ bytes: UnsafeBufferPointer<UInt8>) {
        withUnsafeMutableBufferPointer { buffer, count in
            let rest = UnsafeMutableBufferPointer(rebasing: buffer[count...])
            precondition(bytes.count <= rest.count, "too little room")
            count += rest.initialize(fromContentsOf: bytes)
        }
    }

    mutating func append(literal text: StaticString) {
        append(UnsafeBufferPointer(start: text.utf8Start, count: text.utf8CodeUnitCount))
    }

    /// With zeros in front where it is shorter than `width`. At most 20 bytes.
    mutating func append(decimal value: UInt64, width: Int = 1) {
        var size = 1
        var bound: UInt64 = 10
        while size < 20, value >= bound || size < width {
            size += 1
            bound = size < 20 ? bound &* 10 : .max
        }
        withUnsafeMutableBufferPointer { buffer, count in
            precondition(size <= buffer.count - count, "too little room")
            var rest = value
            for index in (count..<count + size).reversed() {
                buffer.initializeElement(at: index, to: 0x30 + UInt8(truncatingIfNeeded: rest % 10))
                rest /= 10
            }
            count += size
        }
    }

    mutating func append(integer value: Int) {
        if value < 0 { append(0x2D) }
        append(decimal: UInt64(value.magnitude))
    }

    /// At most so many places behind the point; four are more than a rate is known to. `null` for what is no number of
    /// at most fourteen digits. At most 20 bytes where there are four places or fewer.
    mutating func append(number value: Double, places: Int = 4) {
        guard value.isFinite, value.magnitude < 1e14 else { return append(literal: "null") }
        var unit: UInt64 = 1
        for _ in 0..<places { unit *= 10 }
        let scaled = UInt64(value.magnitude * Double(unit) + 0.5)
        if value < 0, scaled > 0 { append(0x2D) }
        append(decimal: scaled / unit)
        var (fraction, width) = (scaled % unit, places)
        guard fraction > 0 else { return }
        while fraction % 10 == 0 {
            fraction /= 10
            width -= 1
        }
        append(0x2E)
        append(decimal: fraction, width: width)
    }
}

/// At most 64 bytes that were written once, to be told to many: without a reference, which would be counted each time.
struct Prepared {
    private var storage = InlineArray<64, UInt8>(repeating: 0)
    let count: Int

    init(_ write: (inout OutputSpan<UInt8>) -> Void) {
        var count = 0
        var bytes = storage.mutableSpan
        bytes.withUnsafeMutableBufferPointer { buffer in
            var text = OutputSpan(buffer: buffer, initializedCount: 0)
            write(&text)
            count = text.finalize(for: buffer)
        }
        self.count = count
    }

    func append(to bytes: inout OutputSpan<UInt8>) {
        storage.span.withUnsafeBufferPointer { bytes.append(UnsafeBufferPointer(rebasing: $0[..<count])) }
    }
}
