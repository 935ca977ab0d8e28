import HTTPTypes

/// The names that nearly every request has, made once: a name made from its bytes costs two strings.
enum FieldNames {
    private static let common = [
        "Host", "Connection", "Upgrade", "Origin", "User-Agent", "Accept", "Accept-Encoding", "Accept-Language", "Authorization",
        "Cache-Control", "Content-Length", "Content-Type", "Cookie", "Pragma", "Sec-WebSocket-Key", "Sec-WebSocket-Version",
        "Sec-WebSocket-Protocol", "Sec-WebSocket-Extensions", "X-Forwarded-For", "X-Forwarded-Proto", "Forwarded",
    ]

    /// By their length; as they are usually written, and in lower case.
    private static let byLength: [[(bytes: [UInt8], name: HTTPField.Name)]] = {
        var table: [[(bytes: [UInt8], name: HTTPField.Name)]] = Array(repeating: [], count: 32)
        for text in common.flatMap({ [$0, $0.lowercased()] }) {
            table[text.utf8.count].append((Array(text.utf8), HTTPField.Name(text)!))
        }
        return table
    }()

    /// Nil where it is not a token (RFC 9110 §5.1).
    static func name(_ bytes: ArraySlice<UInt8>) -> HTTPField.Name? {
        if bytes.count < byLength.count {
            for known in byLength[bytes.count] where known.bytes.elementsEqual(bytes) { return known.name }
        }
        return HTTPField.Name(String(decoding: bytes, as: UTF8.self))
    }
}
