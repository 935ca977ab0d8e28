/// Looks into the server's JSON without reading all of it: the load must not be limited by what makes it.
enum JSONText {
    /// The string behind the first member of that name; nil where there is none, or where it has escapes.
    static func string(_ name: String, in bytes: [UInt8]) -> String? {
        let key = Array("\"\(name)\":".utf8)
        guard let start = bytes.firstRange(of: key)?.upperBound else { return nil }
        let rest = bytes[start...].drop { $0 == UInt8(ascii: " ") }
        guard rest.first == UInt8(ascii: "\"") else { return nil }
        let text = rest.dropFirst().prefix { $0 != UInt8(ascii: "\"") }
        return text.contains(UInt8(ascii: "\\")) ? nil : String(decoding: text, as: UTF8.self)
    }
}
