import HTTPTypes

/// The names that nearly every message has, made once: a name made from its bytes costs two strings.
enum FieldNames {
    private static let common = [
        "Host", "Connection", "Upgrade", "Origin", "User-Agent", "Accept", "Accept-Encoding", "Accept-Language", "Authorization",
        "Cache-Control", "Content-Length", "Content-Type", "Cookie", "Pragma", "Sec-WebSocket-Key", "Sec-WebSocket-Version",
        "Sec-WebSocket-Protocol", "Sec-WebSocket-Extensions", "X-Forwarded-For", "X-Forwarded-Proto", "Forwarded",
    ]

    /// By their length, in lower case.
    private static let byLength: [[(bytes: [UInt8], name: HTTPField.Name)]] = {
        var table: [[(bytes: [UInt8], name: HTTPField.Name)]] = Array(repeating: [], count: 32)
        for name in common.map({ HTTPField.Name($0)! }) {
            table[name.canonicalName.utf8.count].append((Array(name.canonicalName.utf8), name))
        }
        return table
    }()

    /// Nil where it is not a token (RFC 9110 §5.1).
    static func name(_ bytes: borrowing Span<UInt8>) -> HTTPField.Name? {
        if bytes.count < byLength.count {
            for known in byLength[bytes.count] where isSame(known.bytes.span, bytes) { return known.name }
        }
        return HTTPField.Name(bytes.string)
    }

    /// In whatever case: of the bytes that a line can have, only a capital letter becomes one of the name's by this.
    private static func isSame(_ lowered: borrowing Span<UInt8>, _ bytes: borrowing Span<UInt8>) -> Bool {
        for index in lowered.indices where bytes[index] | 0x20 != lowered[index] { return false }
        return true
    }
}
