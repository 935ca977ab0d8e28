public import HTTPTypes

/// A whole request.
public struct ParsedRequest: Sendable, Equatable {
    public let request: HTTPRequest
    public let body: [UInt8]
    /// Whether the connection may carry another request after this one (RFC 9112 §9.3).
    public let keepsAlive: Bool
    /// HTTP/1.0 knows no chunks (RFC 9112 §6.1), and `Upgrade` says nothing in it (RFC 9110 §7.8).
    public let isHTTP11: Bool

    public var fields: HTTPFields { request.headerFields }
}

/// The server's side of HTTP/1.1 message parsing, by RFC 9112. No I/O: bytes in, requests out.
///
/// Give it what the socket gave (`receive`), then ask `next` until it needs more. After a request it pauses: bytes of a
/// pipelined next one wait until `next` is called again, which the caller does when it has answered.
public struct RequestParser: Sendable {
    public enum Event: Sendable, Equatable {
        case needsMore
        /// The head of a request that has content, before any of that is taken: who knows more about the sender may call `limitBody`.
        case head(HTTPRequest)
        /// The client waits for leave to send its content (RFC 9110 §10.1.1). Comes at most once a request.
        case expectsContinue
        case request(ParsedRequest)
    }

    private enum Phase {
        case head
        /// Without the request, that is read once more when its content has come.
        case body(HTTPRequest?, BodyFraming, Persistence, owesContinue: Bool)
        case refused(HTTPRefusal)
    }

    /// What may follow the request.
    private struct Persistence {
        let keepsAlive: Bool
        let isHTTP11: Bool
    }

    private let limits: HTTPLimits
    private var buffer = MessageBuffer()
    private var phase = Phase.head
    /// Bytes of content that the request may have.
    private var mostBody: Int

    public init(limits: HTTPLimits = HTTPLimits()) {
        self.limits = limits
        mostBody = limits.body
    }

    /// Takes bytes from the peer. The span may be any part of the stream.
    public mutating func receive(_ bytes: borrowing RawSpan) { buffer.append(bytes) }

    /// Whether a request has begun and is not complete: the time when a limit on slow clients runs.
    public var isMidRequest: Bool { isMidBody || !buffer.isEmpty }

    /// Whether the header section has come, and content is awaited.
    public var isMidBody: Bool {
        if case .body = phase { return true }
        return false
    }

    /// What came behind the last request, for the protocol that the connection is upgraded to.
    public mutating func takeRest() -> [UInt8] { buffer.takeRest() }

    /// The next event. A refusal is final: it is thrown again by every later call.
    public mutating func next() throws(HTTPRefusal) -> Event {
        do throws(HTTPRefusal) {
            return try advance()
        } catch {
            phase = .refused(error)
            throw error
        }
    }

    /// Refuses content that is longer than this, from now until the next request.
    public mutating func limitBody(to bytes: Int) { mostBody = min(bytes, limits.body) }

    private mutating func advance() throws(HTTPRefusal) -> Event {
        switch phase {
        case .refused(let refusal): throw refusal
        case .head:
            guard let head = try buffer.takeHead(limits, skippingEmptyLine: true) else { return .needsMore }
            mostBody = limits.body
            let (request, framing, persistence, owesContinue) = try RequestParser.begin(head)
            phase = .body(request, framing, persistence, owesContinue: owesContinue)
            return framing.hasContent ? .head(request) : try advance()
        case .body(let request, let framing, let persistence, let owesContinue):
            if case .length(let length) = framing, length > mostBody { throw .bodyTooLarge }
            if owesContinue, buffer.isEmpty {
                buffer.keepHead()
                phase = .body(nil, framing, persistence, owesContinue: false)
                return .expectsContinue
            }
            guard try buffer.takeBody(framing, limit: mostBody) else {
                buffer.keepHead()
                phase = .body(nil, framing, persistence, owesContinue: owesContinue)
                return .needsMore
            }
            let complete = if let request { request } else { try RequestParser.begin(try buffer.readKeptHead(limits)).request }
            phase = .head
            return .request(
                ParsedRequest(
                    request: complete, body: buffer.finishMessage(), keepsAlive: persistence.keepsAlive,
                    isHTTP11: persistence.isHTTP11))
        }
    }

    private static func begin(
        _ head: MessageHead
    ) throws(HTTPRefusal) -> (request: HTTPRequest, BodyFraming, Persistence, owesContinue: Bool) {
        let line = try RequestLine(head.startLine)
        let authority = try RequestParser.authority(line, head.fields)
        let framing = try BodyFraming(request: head.fields, minorVersion: line.minorVersion)
        let expectations = head.fields.tokens(.expect)
        guard expectations.allSatisfy({ $0 == "100-continue" }) else { throw .unknownExpectation }
        let options = head.fields.tokens(.connection)
        // A client of HTTP/1.0 would have to be told that its connection is kept (RFC 9112 §9.3), and few are left.
        let keepsAlive = line.minorVersion == 1 && !options.contains("close")
        let request = HTTPRequest(
            method: line.method, scheme: nil, authority: authority, path: line.path, headerFields: head.fields)
        return (
            request, framing, Persistence(keepsAlive: keepsAlive, isHTTP11: line.minorVersion == 1),
            owesContinue: framing.hasContent && !expectations.isEmpty && line.minorVersion == 1
        )
    }

    /// RFC 9112 §3.2: exactly one Host in HTTP/1.1; the target's own, where it names one, takes its place (§3.2.2).
    private static func authority(_ line: RequestLine, _ fields: HTTPFields) throws(HTTPRefusal) -> String? {
        let hosts = fields[values: hostName]
        guard hosts.count <= 1 else { throw .malformed("more than one Host") }
        guard line.authority.map(isHost) ?? true else { throw .malformed("a target's host that is not one host") }
        guard let host = hosts.first else {
            guard line.minorVersion == 0 else { throw .malformed("no Host") }
            return line.authority
        }
        guard isHost(host) else { throw .malformed("a Host that is not one host") }
        return line.authority ?? host
    }

    /// Without user information, which may not be there (RFC 9110 §4.2.4).
    private static func isHost(_ text: String) -> Bool {
        text.utf8.allSatisfy { $0 > 0x20 && $0 < 0x7F && $0 != 0x2F && $0 != 0x3F && $0 != 0x23 && $0 != 0x40 && $0 != 0x2C }
    }

    private static let hostName = HTTPField.Name("Host")!
}

/// `method SP request-target SP HTTP-version` (RFC 9112 §3).
struct RequestLine {
    let method: HTTPRequest.Method
    let path: String
    let authority: String?
    let minorVersion: Int

    init(_ bytes: [UInt8]) throws(HTTPRefusal) {
        guard let first = bytes.firstIndex(of: 0x20), let last = bytes.lastIndex(of: 0x20), first < last,
            case let target = bytes[(first + 1)..<last], !target.contains(0x20)
        else { throw .malformed("a request line that is not three words") }
        guard let method = RequestLine.method(bytes[..<first]) else { throw .malformed("a method that is not a token") }
        self.method = method
        minorVersion = try RequestLine.minorVersion(bytes[(last + 1)...])
        // A target is visible ASCII without a fragment (RFC 3986 §3); other bytes must be percent-encoded.
        guard target.allSatisfy({ $0 > 0x20 && $0 < 0x7F && $0 != 0x23 }) else {
            throw .malformed("a request target with a forbidden character")
        }
        (path, authority) = try RequestLine.parts(String(decoding: target, as: UTF8.self), method)
    }

    private static func method(_ bytes: ArraySlice<UInt8>) -> HTTPRequest.Method? {
        if bytes.elementsEqual("GET".utf8) { return .get }
        if bytes.elementsEqual("POST".utf8) { return .post }
        return HTTPRequest.Method(String(decoding: bytes, as: UTF8.self))
    }

    /// The four forms of RFC 9112 §3.2, but for the authority form, which is for proxies.
    private static func parts(_ target: String, _ method: HTTPRequest.Method) throws(HTTPRefusal) -> (path: String, authority: String?) {
        if target.utf8.first == 0x2F { return (target, nil) }
        if let rest = afterScheme(target) {
            let end = rest.firstIndex { $0 == "/" || $0 == "?" } ?? rest.endIndex
            guard end != rest.startIndex else { throw .malformed("a request target without a host") }
            return (rest[end...].hasPrefix("/") ? String(rest[end...]) : "/" + rest[end...], String(rest[..<end]))
        }
        guard target == "*", method == .options else { throw .malformed("a request target that is no path") }
        return (target, nil)
    }

    private static func afterScheme(_ target: String) -> Substring? {
        let lowered = target.lowercased()
        for scheme in ["http://", "https://"] where lowered.hasPrefix(scheme) { return target.dropFirst(scheme.count) }
        return nil
    }

    static func minorVersion(_ text: ArraySlice<UInt8>) throws(HTTPRefusal) -> Int {
        let major = text.startIndex + 5
        guard text.count == 8, text.starts(with: "HTTP/".utf8), text[major + 1] == 0x2E,
            (0x30...0x39).contains(text[major]), (0x30...0x39).contains(text[major + 2])
        else { throw .malformed("no HTTP version") }
        guard text[major] == 0x31, text[major + 2] <= 0x31 else { throw .unknownVersion }
        return Int(text[major + 2] - 0x30)
    }
}
