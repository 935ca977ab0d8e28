public import HTTPTypes

/// A start line and header fields, cut at their CRLFs and checked, for requests and responses alike.
struct MessageHead {
    let startLine: [UInt8]
    let fields: HTTPFields

    /// Reads a header section that `HeadScanner` has found the end of: lines that end in CRLF, the last one empty.
    init(_ bytes: ArraySlice<UInt8>, limits: HTTPLimits) throws(HTTPRefusal) {
        var lineStart = bytes.startIndex
        func nextLine() -> ArraySlice<UInt8> {
            let end = bytes[lineStart...].firstIndex(of: 0x0D)!
            defer { lineStart = end + 2 }
            return bytes[lineStart..<end]
        }
        startLine = Array(nextLine())
        guard !startLine.isEmpty else { throw .malformed("an empty start line") }
        var fields = HTTPFields()
        fields.reserveCapacity(16)
        while case let line = nextLine(), !line.isEmpty {
            guard fields.count < limits.fields else { throw .fieldsTooLarge }
            fields.append(try MessageHead.field(line))
        }
        self.fields = fields
    }

    /// RFC 9112 §5: `field-name ":" OWS field-value OWS`, no space before the colon, no folding.
    private static func field(_ line: ArraySlice<UInt8>) throws(HTTPRefusal) -> HTTPField {
        if line.first == 0x20 || line.first == 0x09 { throw .malformed("a folded header line") }
        guard let colon = line.firstIndex(of: 0x3A) else { throw .malformed("a header line without a colon") }
        guard let name = FieldNames.name(line[..<colon]) else {
            throw .malformed("a header name that is not a token")
        }
        let value = trim(line[(colon + 1)...])
        // HTTPField would turn forbidden bytes into spaces: refuse them first (RFC 9110 §5.5).
        guard value.allSatisfy({ ($0 >= 0x20 && $0 != 0x7F) || $0 == 0x09 }) else {
            throw .malformed("a control character in the value of \(name.canonicalName)")
        }
        return HTTPField(name: name, value: String(decoding: value, as: UTF8.self))
    }

    private static func trim(_ bytes: ArraySlice<UInt8>) -> ArraySlice<UInt8> {
        var bytes = bytes
        while bytes.first == 0x20 || bytes.first == 0x09 { bytes.removeFirst() }
        while bytes.last == 0x20 || bytes.last == 0x09 { bytes.removeLast() }
        return bytes
    }
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
