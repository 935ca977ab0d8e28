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
    let query: Query
    let fields: HTTPFields
    let body: [UInt8]
    let host: String?
    let peer: SocketAddress
    let isHTTP11: Bool

    /// No route has so many.
    private static let mostSegments = 16

    /// - Parameter basePath: a path below which a proxy shows this server, and which it may or may not take away.
    init(_ parsed: ParsedRequest, peer: SocketAddress, below basePath: String = "") throws(Problem) {
        let target = Request.target(parsed.request.path ?? "/", below: basePath)
        // By bytes: looking for a whole character is slow, and what is looked for is ASCII.
        let cut = target.utf8.firstIndex(of: UInt8(ascii: "?")) ?? target.endIndex
        method = parsed.request.method
        fields = parsed.fields
        body = parsed.body
        host = parsed.request.authority
        self.peer = peer
        isHTTP11 = parsed.isHTTP11
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
        query = Query(target[cut...].dropFirst())
    }

    private static func target(_ path: String, below basePath: String) -> Substring {
        guard !basePath.isEmpty, path.utf8.starts(with: basePath.utf8) else { return path[...] }
        let rest = path.dropFirst(basePath.count)
        // Not `/waiting` for `/wait`.
        guard let next = rest.utf8.first else { return "/" }
        return next == UInt8(ascii: "/") ? rest : next == UInt8(ascii: "?") ? "/" + rest : path[...]
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
        guard let text = try query.value(name) else { return value }
        guard let number = Int(text), range.contains(number) else {
            throw Problem(
                .badRequest, "invalid_parameter", "\(name) must be a whole number from \(range.lowerBound) to \(range.upperBound)",
                field: name)
        }
        return number
    }

    /// Where a list goes on: the `cursor` that its last page gave; nil: at its beginning.
    func cursor<Cursor>(_ parse: (String) -> Cursor?) throws(Problem) -> Cursor? {
        guard let text = try query.value("cursor") else { return nil }
        guard let cursor = parse(text) else {
            throw Problem(.badRequest, "invalid_parameter", "cursor must be one that a page of this list gave", field: "cursor")
        }
        return cursor
    }

    /// Whether this is the path, as it is written in the routes.
    func isFor(_ path: String...) -> Bool { encoded.isEmpty && segments == path }

    var wantsUpgrade: Bool { isHTTP11 && fields.tokens(.upgrade).contains("websocket") }
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

extension Collection<UInt8> {
    /// As `contains`, but at once over bytes that lie together: a text's own way is a step for each.
    func has(_ byte: UInt8) -> Bool { withContiguousStorageIfAvailable { $0.contains(byte) } ?? contains(byte) }
}
