import Foundation
import HTTPProtocol
import HTTPTypes

/// What stands behind the `?` of a request's target. A parameter is judged when a route reads it: what no route reads (`utm_campaign=50%off`)
/// is nobody's mistake.
struct Query: Sendable {
    private let text: String

    init(_ text: Substring) { self.text = String(text) }

    /// The parameter of this name, decoded; nil where there is none.
    ///
    /// - Throws: `bad_query` where it stands there twice, or is no percent-encoded UTF-8.
    func value(_ name: String) throws(Problem) -> String? {
        var found: String?
        for pair in pairs where Query.name(of: pair) == name {
            guard found == nil else {
                throw Problem(.badRequest, "bad_query", "\(name) stands twice in the query", field: name)
            }
            let cut = pair.utf8.firstIndex(of: UInt8(ascii: "=")) ?? pair.endIndex
            guard let value = pair[cut...].dropFirst().formDecoded, !value.utf8.has(0) else {
                throw Problem(.badRequest, "bad_query", "\(name) is not percent-encoded UTF-8 text", field: name)
            }
            found = value
        }
        return found
    }

    /// A list that passed over a filter would give what nobody asked for.
    ///
    /// - Throws: `invalid_parameter` where there is any other.
    func takes(only known: [String]) throws(Problem) {
        let names = pairs.map { Query.name(of: $0) ?? String($0) }
        guard let other = names.first(where: { !known.contains($0) }) else { return }
        let taken = known.isEmpty ? "none" : known.joined(separator: ", ")
        throw Problem(
            .badRequest, "invalid_parameter", "there is no parameter \(other.prefix(64)) here: this list takes \(taken)",
            field: String(other.prefix(64)))
    }

    private var pairs: some Sequence<Substring> { text.utf8.split(separator: UInt8(ascii: "&")).lazy.map(Substring.init) }

    private static func name(of pair: Substring) -> String? {
        pair[..<(pair.utf8.firstIndex(of: UInt8(ascii: "=")) ?? pair.endIndex)].formDecoded
    }
}

extension Substring {
    /// nil where it is no percent-encoded UTF-8 that can be compared (`StreamSafeText`). Most of what comes is not encoded, and Foundation goes through UTF-16.
    var percentDecoded: String? {
        guard utf8.has(UInt8(ascii: "%")) else { return String(self) }
        return removingPercentEncoding.flatMap { StreamSafeText.isSafe($0) ? $0 : nil }
    }

    /// The same of a form's text, in which `+` is a space (WHATWG URL §5.1).
    fileprivate var formDecoded: String? {
        utf8.has(UInt8(ascii: "+")) ? replacing("+", with: " ").percentDecoded : percentDecoded
    }
}
