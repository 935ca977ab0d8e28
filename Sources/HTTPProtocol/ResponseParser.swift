public import HTTPTypes

/// A whole response.
public struct ParsedResponse: Sendable, Equatable {
    public let response: HTTPResponse
    public let body: [UInt8]
}

/// The client's side of HTTP/1.1 message parsing: as strict as the server's, and as free of I/O.
public struct ResponseParser: Sendable {
    private enum Phase {
        case head
        case body(HTTPResponse, BodyFraming)
    }

    private let limits: HTTPLimits
    private let method: HTTPRequest.Method
    private var buffer = MessageBuffer()
    private var phase = Phase.head

    /// - Parameter method: of the request that is answered: a response to HEAD has no content.
    public init(answering method: HTTPRequest.Method, limits: HTTPLimits = HTTPLimits(body: 4 << 20)) {
        self.method = method
        self.limits = limits
    }

    public mutating func receive(_ bytes: borrowing RawSpan) { buffer.append(bytes) }

    /// What came behind the response, for the protocol that the connection is upgraded to.
    public mutating func takeRest() -> [UInt8] { buffer.takeRest() }

    /// The next response, once it has come whole. Interim ones (1xx but 101) are passed over.
    public mutating func next() throws(HTTPRefusal) -> ParsedResponse? {
        while true {
            switch phase {
            case .head:
                guard let head = try buffer.takeHead(limits) else { return nil }
                try begin(head)
            case .body(let response, let framing):
                guard try buffer.takeBody(framing, limit: limits.body) else { return nil }
                phase = .head
                let body = buffer.finishMessage()
                if response.status.kind == .informational, response.status.code != 101 { continue }
                return ParsedResponse(response: response, body: body)
            }
        }
    }

    /// The peer has closed: ends a response that is delimited by it.
    public mutating func end() throws(HTTPRefusal) -> ParsedResponse? {
        guard case .body(let response, .untilClose) = phase else { return nil }
        _ = try buffer.takeBody(.untilClose, limit: limits.body)
        phase = .head
        return ParsedResponse(response: response, body: buffer.finishMessage())
    }

    /// `HTTP-version SP status-code SP [reason-phrase]` (RFC 9112 §4).
    private mutating func begin(_ head: MessageHead) throws(HTTPRefusal) {
        let parts = head.startLine.split(separator: 0x20, maxSplits: 2, omittingEmptySubsequences: false)
        guard parts.count >= 2, parts[1].count == 3, let code = Int(String(decoding: parts[1], as: UTF8.self)), code >= 100
        else { throw .malformed("a status line that is none") }
        let minorVersion = try RequestLine.minorVersion(parts[0])
        let reason = parts.count == 3 ? String(decoding: parts[2], as: UTF8.self) : ""
        let response = HTTPResponse(status: .init(code: code, reasonPhrase: reason), headerFields: head.fields)
        phase = .body(response, try BodyFraming(response: head.fields, status: code, method: method, minorVersion: minorVersion))
    }
}
