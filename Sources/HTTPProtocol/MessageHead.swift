public import HTTPTypes

/// A start line and header fields, cut at their CRLFs and checked, for requests and responses alike.
struct MessageHead {
    let startLine: [UInt8]
    private(set) var fields = HTTPFields()

    /// Reads a header section that `HeadScanner` has found the end of: lines that end in CRLF, the last one empty, without
    /// the control characters that HTTPField would turn into spaces.
    init(_ bytes: borrowing Span<UInt8>, limits: HTTPLimits) throws(HTTPRefusal) {
        guard bytes.withUnsafeBytes({ StreamSafeText.isSafe($0) }) else { throw .malformed("a field of marks upon marks") }
        let end = bytes.firstIndex(of: 0x0D)!
        guard end > 0 else { throw .malformed("an empty start line") }
        startLine = bytes.extracting(..<end).withUnsafeBufferPointer { Array($0) }
        fields.reserveCapacity(16)
        var position = end + 2
        while bytes[position] != 0x0D {
            guard fields.count < limits.fields else { throw .fieldsTooLarge }
            let end = bytes.firstIndex(of: 0x0D, from: position)!
            fields.append(try MessageHead.field(bytes.extracting(position..<end)))
            position = end + 2
        }
    }

    /// RFC 9112 §5: `field-name ":" OWS field-value OWS`, no space before the colon, no folding.
    private static func field(_ line: borrowing Span<UInt8>) throws(HTTPRefusal) -> HTTPField {
        if isSpace(line[0]) { throw .malformed("a folded header line") }
        guard let colon = line.firstIndex(of: 0x3A) else { throw .malformed("a header line without a colon") }
        guard let name = FieldNames.name(line.extracting(..<colon)) else {
            throw .malformed("a header name that is not a token")
        }
        var start = colon + 1
        var end = line.count
        while start < end, isSpace(line[start]) { start += 1 }
        while end > start, isSpace(line[end - 1]) { end -= 1 }
        return HTTPField(name: name, value: line.extracting(start..<end).string)
    }

    private static func isSpace(_ byte: UInt8) -> Bool { byte == 0x20 || byte == 0x09 }
}

extension Span<UInt8> {
    func firstIndex(of byte: UInt8, from start: Int = 0) -> Int? {
        for index in start..<count where self[index] == byte { return index }
        return nil
    }

    /// What is not UTF-8 becomes U+FFFD.
    var string: String { withUnsafeBufferPointer { String(decoding: $0, as: UTF8.self) } }
}

extension HTTPFields {
    /// The members of a comma-separated list over all fields of that name, trimmed, lower case, without empty ones
    /// (RFC 9110 §5.6.1).
    public func tokens(_ name: HTTPField.Name) -> [String] {
        var tokens: [String] = []
        for value in self[values: name] {
            // Most often there is one, and nothing around it.
            guard value.utf8.contains(where: { $0 == 0x2C || $0 == 0x20 || $0 == 0x09 }) else {
                if !value.isEmpty { tokens.append(value.lowercased()) }
                continue
            }
            for part in value.utf8.split(separator: 0x2C) {
                let token = part.trimmingSpaces()
                if !token.isEmpty { tokens.append(String(Substring(token)).lowercased()) }
            }
        }
        return tokens
    }
}

extension Substring.UTF8View {
    func trimmingSpaces() -> Substring.UTF8View {
        var bytes = self
        while let first = bytes.first, first == 0x20 || first == 0x09 { bytes.removeFirst() }
        while let last = bytes.last, last == 0x20 || last == 0x09 { bytes.removeLast() }
        return bytes
    }
}
