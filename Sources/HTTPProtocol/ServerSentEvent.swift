/// Events of a `text/event-stream` (WHATWG HTML §9.2.6).
public enum ServerSentEvent {
    /// - Parameters:
    ///   - id: becomes `Last-Event-ID` when the client comes back.
    ///   - event: its type; nil: `message`.
    ///   - data: writes the data, without a line break: as JSON is.
    public static func encode(id: UInt64? = nil, event: StaticString? = nil, into bytes: inout [UInt8], data: (inout [UInt8]) -> Void) {
        if let id { bytes.append(contentsOf: "id: \(id)\n".utf8) }
        if let event { bytes.append(contentsOf: "event: \(event)\n".utf8) }
        bytes.append(contentsOf: "data: ".utf8)
        data(&bytes)
        bytes.append(contentsOf: "\n\n".utf8)
    }

    /// A comment, which keeps proxies from closing a quiet stream. No empty line ends it: there are clients that take each of these for an
    /// event.
    public static let keepAlive: [UInt8] = Array(":\n".utf8)
}

/// A part of a message whose length is not known when it begins (RFC 9112 §7.1).
public enum Chunk {
    /// Appends what `content` writes, which must be something: an empty chunk would be the last one.
    public static func encode(into bytes: inout [UInt8], content: (inout [UInt8]) -> Void) {
        let start = bytes.count
        // The length is known when the content is there; zeros may stand before it.
        bytes.append(contentsOf: "00000000\r\n".utf8)
        content(&bytes)
        var length = bytes.count - start - 10
        precondition(length > 0 && length <= UInt32.max, "a chunk has content, and its length has eight digits")
        var place = start + 7
        while length > 0 {
            bytes[place] = hexDigits[length & 15]
            length >>= 4
            place -= 1
        }
        bytes.append(contentsOf: "\r\n".utf8)
    }

    /// What ends such a message.
    public static let last: [UInt8] = Array("0\r\n\r\n".utf8)

    private static let hexDigits: [UInt8] = Array("0123456789abcdef".utf8)
}
