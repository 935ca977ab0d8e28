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
    /// Bare CR, bare LF and NUL end the matter at once (RFC 9112 §2.2).
    mutating func end(in bytes: [UInt8], limits: HTTPLimits) throws(HTTPRefusal) -> Int? {
        while position < bytes.count {
            let byte = bytes[position]
            position += 1
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
            } else if byte == 0 {
                throw .malformed("a NUL byte")
            }
            if isFirstLine, position - lineStart > limits.line + 2 { throw .lineTooLong }
            if position > limits.head { throw .fieldsTooLarge }
        }
        return nil
    }
}
