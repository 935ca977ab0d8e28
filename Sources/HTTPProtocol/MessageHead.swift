public import HTTPTypes

/// A start line and header fields, cut at their CRLFs and checked, for requests and responses alike.
struct MessageHead {
    let startLine: [UInt8]
    let fields: HTTPFields

    /// Reads a header section that `HeadScanner` has found the end of.
    init(_ bytes: ArraySlice<UInt8>, limits: HTTPLimits) throws(HTTPRefusal) {
        var lines = bytes.split(separator: 0x0A, omittingEmptySubsequences: false).map { $0.dropLast() }[...]
        lines.removeLast(2)  // The empty line, and what split makes behind it.
        guard let first = lines.popFirst() else { throw .malformed("an empty start line") }
        startLine = Array(first)
        guard lines.count <= limits.fields else { throw .fieldsTooLarge }
        var fields = HTTPFields()
        fields.reserveCapacity(lines.count)
        for line in lines { fields.append(try MessageHead.field(line)) }
        self.fields = fields
    }

    /// RFC 9112 §5: `field-name ":" OWS field-value OWS`, no space before the colon, no folding.
    private static func field(_ line: ArraySlice<UInt8>) throws(HTTPRefusal) -> HTTPField {
        if line.first == 0x20 || line.first == 0x09 { throw .malformed("a folded header line") }
        guard let colon = line.firstIndex(of: 0x3A) else { throw .malformed("a header line without a colon") }
        guard let name = HTTPField.Name(String(decoding: line[..<colon], as: UTF8.self)) else {
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
        self[values: name].flatMap { $0.split(separator: ",") }
            .map { $0.trimmingSpaces().lowercased() }
            .filter { !$0.isEmpty }
    }
}

extension Substring {
    func trimmingSpaces() -> Substring {
        var text = self
        while let first = text.first, first == " " || first == "\t" { text.removeFirst() }
        while let last = text.last, last == " " || last == "\t" { text.removeLast() }
        return text
    }
}
