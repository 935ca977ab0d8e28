import EventLoop
import Foundation
import HTTPProtocol
import HTTPTypes
import QueueService

/// A request as the routes see it.
struct Request: Sendable {
    let method: HTTPRequest.Method
    /// Percent-decoded.
    let segments: [String]
    /// Of the segments those that were written with percent-encoding.
    private(set) var encoded: [Int] = []
    let query: [String: String]
    let fields: HTTPFields
    let body: [UInt8]
    let host: String?
    let peer: SocketAddress
    private let mayUpgrade: Bool

    /// No route has so many.
    private static let (mostSegments, mostParameters) = (16, 32)

    init(_ parsed: ParsedRequest, peer: SocketAddress) throws(Problem) {
        let target = parsed.request.path ?? "/"
        // By bytes: looking for a whole character is slow, and what is looked for is ASCII.
        let cut = target.utf8.firstIndex(of: UInt8(ascii: "?")) ?? target.endIndex
        method = parsed.request.method
        fields = parsed.fields
        body = parsed.body
        host = parsed.request.authority
        self.peer = peer
        mayUpgrade = parsed.mayUpgrade
        var segments: [String] = []
        segments.reserveCapacity(6)  // As many as a route has.
        var rest = target[..<cut]
        if rest.utf8.first == UInt8(ascii: "/") { rest = rest.dropFirst() }
        while true {
            let end = rest.utf8.firstIndex(of: UInt8(ascii: "/")) ?? rest.endIndex
            guard let text = rest[..<end].percentDecoded, !text.utf8.has(UInt8(ascii: "/")), !text.utf8.has(0) else {
                throw Problem(.badRequest, "bad_path", "the path is not percent-encoded UTF-8 text")
            }
            guard segments.count < Request.mostSegments else { throw Problem.notFound }
            if rest[..<end].utf8.has(UInt8(ascii: "%")) { encoded.append(segments.count) }
            segments.append(text)
            guard end < rest.endIndex else { break }
            rest = rest[rest.utf8.index(after: end)...]
        }
        self.segments = segments
        query = try Request.query(target[cut...].dropFirst())
    }

    private static func query(_ text: Substring) throws(Problem) -> [String: String] {
        var query: [String: String] = [:]
        guard text.utf8.count(where: { $0 == UInt8(ascii: "&") }) < mostParameters else {
            throw Problem(.badRequest, "bad_query", "the query has more than \(mostParameters) parameters")
        }
        for pair in text.utf8.split(separator: UInt8(ascii: "&")).map(Substring.init) {
            let cut = pair.utf8.firstIndex(of: UInt8(ascii: "=")) ?? pair.endIndex
            let value = pair[cut...].dropFirst().replacing("+", with: " ")
            guard let name = pair[..<cut].percentDecoded, let decoded = value[...].percentDecoded, !decoded.utf8.has(0) else {
                throw Problem(.badRequest, "bad_query", "the query is not percent-encoded UTF-8 text")
            }
            guard query.updateValue(decoded, forKey: name) == nil else {
                throw Problem(.badRequest, "bad_query", "\(name) stands twice in the query", field: name)
            }
        }
        return query
    }

    func field(_ name: HTTPField.Name) -> String? { fields.joined(name) }

    var bearer: String? { fields.bearer }

    /// The body's members. A body must be JSON and say so.
    func json() throws(Problem) -> Fields {
        if !body.isEmpty {
            guard let type = field(.contentType), type == "application/json" || Request.mediaType(type) == "application/json" else {
                throw Problem(.unsupportedMediaType, "unsupported_media_type", "send Content-Type: application/json")
            }
        }
        return try Fields(body)
    }

    /// Without parameters (RFC 9110 §8.3.1).
    private static func mediaType(_ field: String) -> String? {
        field.split(separator: ";").first?.trimmingCharacters(in: .whitespaces).lowercased()
    }

    func integer(_ name: String, in range: ClosedRange<Int>, default value: Int) throws(Problem) -> Int {
        guard let text = query[name] else { return value }
        guard let number = Int(text), range.contains(number) else {
            throw Problem(
                .badRequest, "invalid_parameter", "\(name) must be a whole number from \(range.lowerBound) to \(range.upperBound)",
                field: name)
        }
        return number
    }

    /// Where a list goes on: the `cursor` that its last page gave; nil: at its beginning.
    func cursor<Cursor>(_ parse: (String) -> Cursor?) throws(Problem) -> Cursor? {
        guard let text = query["cursor"] else { return nil }
        guard let cursor = parse(text) else {
            throw Problem(.badRequest, "invalid_parameter", "cursor must be one that a page of this list gave", field: "cursor")
        }
        return cursor
    }

    /// A list that is given whole has no cursors.
    func takesNoCursor() throws(Problem) { _ = try cursor { _ in nil as Never? } }

    /// Whether this is the path, as it is written in the routes.
    func isFor(_ path: String...) -> Bool { encoded.isEmpty && segments == path }

    var wantsUpgrade: Bool { mayUpgrade && fields.tokens(.upgrade).contains("websocket") }
}

extension HTTPFields {
    /// As the subscript has it, which goes about joining a list before it knows that there is one.
    fileprivate func joined(_ name: HTTPField.Name) -> String? {
        let values = self[values: name]
        return values.count > 1 ? self[name] : values.first
    }

    /// What stands behind `Bearer` in `Authorization` (RFC 6750 §2.1).
    var bearer: String? {
        guard let value = joined(.authorization) else { return nil }
        let words = value.split(separator: " ", maxSplits: 1)
        guard words.count == 2, words[0].lowercased() == "bearer" else { return nil }
        return words[1].trimmingCharacters(in: .whitespaces)
    }
}

extension HTTPFields {
    /// What may be a key to the API: any bearer's token but a session's.
    var apiKey: String? { bearer.flatMap { $0.hasPrefix(SessionTokens.prefix) ? nil : $0 } }
}

extension HTTPRequest {
    /// False where its head says that its content is no longer.
    func mayHaveContent(over bytes: Int) -> Bool { headerFields[.contentLength].flatMap { Int($0) }.map { $0 > bytes } ?? true }
}

extension Substring {
    /// nil where it is no percent-encoded UTF-8. Most of what comes is not encoded, and Foundation goes through UTF-16.
    fileprivate var percentDecoded: String? { utf8.has(UInt8(ascii: "%")) ? removingPercentEncoding : String(self) }
}

extension Collection<UInt8> {
    /// As `contains`, but at once over bytes that lie together: a text's own way is a step for each.
    fileprivate func has(_ byte: UInt8) -> Bool { withContiguousStorageIfAvailable { $0.contains(byte) } ?? contains(byte) }
}
