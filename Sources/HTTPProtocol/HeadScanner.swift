/// Finds the end of a header section: the first empty line.
///
/// It remembers how far it has looked, so that a head which comes a byte at a time costs no more than one that comes
/// whole, and it decides byte by byte, so that every split of the bytes gives the same answer.
struct HeadScanner {
    private var position = 0
    private var lineStart = 0
    private var isFirstLine = true
    private var afterCR = false

    /// The offset just behind the empty line; nil while it has not come.
    ///
    /// Bare CR, bare LF, NUL and every other control character but the tab end the matter at once (RFC 9112 §2.2,
    /// RFC 9110 §5.5).
    mutating func end(in bytes: [UInt8], limits: HTTPLimits) throws(HTTPRefusal) -> Int? {
        while position < bytes.count {
            if !afterCR { skipOrdinary(bytes, upTo: isFirstLine ? lineStart + limits.line : limits.head) }
            guard position < bytes.count else { return nil }
            let byte = bytes[position]
            position += 1
            if isFirstLine, position - lineStart > limits.line + 2 { throw .lineTooLong }
            if position > limits.head { throw .fieldsTooLarge }
            if afterCR {
                guard byte == 0x0A else { throw .malformed("a CR without LF") }
                afterCR = false
                let isEmptyLine = position - lineStart == 2
                lineStart = position
                if isEmptyLine { return position }
                isFirstLine = false
            } else if byte == 0x0D {
                afterCR = true
            } else if byte == 0x0A {
                throw .malformed("a LF without CR")
            } else if !HeadScanner.isOrdinary(byte), byte != 0x09 {
                throw .malformed("a control character")
            }
        }
        return nil
    }

    /// Passes over bytes that decide nothing, as far as no limit can be reached.
    private mutating func skipOrdinary(_ bytes: [UInt8], upTo limit: Int) {
        var next = position
        let end = min(bytes.count, limit)
        while next < end, HeadScanner.isOrdinary(bytes[next]) { next += 1 }
        position = next
    }

    private static func isOrdinary(_ byte: UInt8) -> Bool { byte >= 0x20 && byte != 0x7F }
}
