public import HTTPTypes

/// Why a message is refused. After a refusal the bytes that follow have no known meaning: the connection is closed.
///
/// What two parsers could read differently is refused rather than repaired (RFC 9112 §11.2, request smuggling).
public enum HTTPRefusal: Error, Sendable, Equatable {
    /// Not the grammar of RFC 9112, or more than one reading is possible; says which rule.
    case malformed(String)
    /// The request line is longer than `HTTPLimits.line`.
    case lineTooLong
    /// The header section is longer, or has more fields, than allowed.
    case fieldsTooLarge
    /// The content is longer than `HTTPLimits.body`, or than `limitBody` says.
    case bodyTooLarge
    /// A transfer coding other than chunked (RFC 9112 §6.1).
    case unknownTransferCoding
    /// An HTTP version other than 1.0 and 1.1.
    case unknownVersion
    /// An expectation other than 100-continue (RFC 9110 §10.1.1).
    case unknownExpectation

    /// The status to answer with (RFC 9110 §15.5, RFC 6585 §5).
    public var status: HTTPResponse.Status {
        switch self {
        case .malformed: .badRequest
        case .lineTooLong: .uriTooLong
        case .fieldsTooLarge: .requestHeaderFieldsTooLarge
        case .bodyTooLarge: .contentTooLarge
        case .unknownTransferCoding: .notImplemented
        case .unknownVersion: .init(code: 505, reasonPhrase: "HTTP Version Not Supported")
        case .unknownExpectation: .expectationFailed
        }
    }
}

/// What a message may cost at most, in bytes.
public struct HTTPLimits: Sendable {
    /// The request line without its CRLF.
    public var line: Int
    /// The whole header section, request line included.
    public var head: Int
    /// Number of header fields.
    public var fields: Int
    /// The content.
    public var body: Int

    public init(line: Int = 8_192, head: Int = 10_240, fields: Int = 100, body: Int = 65_536) {
        self.line = line
        self.head = head
        self.fields = fields
        self.body = body
    }
}
