import HTTPTypes

/// How the content of a message is delimited (RFC 9112 §6).
enum BodyFraming: Equatable {
    case none
    case length(Int)
    case chunked
    /// Until the connection closes: responses only.
    case untilClose

    /// Whether any content follows.
    var hasContent: Bool { self != .none && self != .length(0) }

    /// A request's framing. Anything that could be read in two ways is refused.
    init(request fields: HTTPFields, minorVersion: Int) throws(HTTPRefusal) {
        self = try BodyFraming.declared(fields, minorVersion: minorVersion) ?? .none
    }

    /// A response's framing, from its status, its fields and the method that it answers (RFC 9112 §6.3).
    init(response fields: HTTPFields, status: Int, method: HTTPRequest.Method, minorVersion: Int) throws(HTTPRefusal) {
        if method == .head || status < 200 || status == 204 || status == 304 {
            self = .none
        } else {
            self = try BodyFraming.declared(fields, minorVersion: minorVersion) ?? .untilClose
        }
    }

    private static func declared(_ fields: HTTPFields, minorVersion: Int) throws(HTTPRefusal) -> BodyFraming? {
        let lengths = fields[values: .contentLength]
        let codings = fields[values: .transferEncoding]
        if !codings.isEmpty {
            guard lengths.isEmpty else { throw .malformed("both Transfer-Encoding and Content-Length") }
            guard minorVersion >= 1 else { throw .malformed("Transfer-Encoding in HTTP/1.0") }
            guard codings.count == 1 else { throw .malformed("more than one Transfer-Encoding") }
            guard codings[0].lowercased() == "chunked" else { throw .unknownTransferCoding }
            return .chunked
        }
        guard let text = lengths.first else { return nil }
        guard lengths.count == 1 else { throw .malformed("more than one Content-Length") }
        guard !text.isEmpty, text.utf8.count <= 18, text.utf8.allSatisfy({ (0x30...0x39).contains($0) }),
            let length = Int(text)
        else { throw .malformed("a Content-Length that is not a plain number") }
        return .length(length)
    }
}
