import EventLoop
import Foundation
import HTTPTypes

/// Who stands behind a request, by the word of the proxies that are trusted and of nobody else.
///
/// They say it in one field, which a setting names: any other one may be the client's own, passed on untouched. It is read from
/// the right: each proxy appends whom it heard from, so the first that is no trusted proxy is the client, and whatever the client
/// claimed stands further left (RFC 7239 §4, §8.1).
enum ClientAddress {
    /// - Parameter name: of the field: `Forwarded` (RFC 7239), or one with addresses alone.
    static func find(_ fields: HTTPFields, peer: SocketAddress, trusted: [Network], in name: HTTPField.Name) -> SocketAddress {
        guard trusted.contains(where: { $0.contains(peer) }) else { return peer }
        var client = peer
        for element in lastElements(fields[values: name]) {
            // A name that is hidden or unknown ends what is known.
            guard let address = address(name == .forwarded ? node(element) : element) else { return client }
            client = address
            if !trusted.contains(where: { $0.contains(address) }) { return client }
        }
        return client
    }

    /// Proxies that stand one behind the other, at most: the client may have claimed as many as a head has room for.
    private static let mostHops = 32

    /// Fields in which proxies name their client.
    private static let known = [
        "X-Forwarded-For", "Forwarded", "X-Real-IP", "X-Client-IP", "True-Client-IP", "CF-Connecting-IP", "Fastly-Client-IP",
    ].map { HTTPField.Name($0)! }

    /// The field in which a proxy names its client, where it does not send the one that is read.
    static func unreadField(_ fields: HTTPFields, in name: HTTPField.Name) -> HTTPField.Name? {
        fields.contains(name) ? nil : known.first { fields.contains($0) }
    }

    /// The last ones first.
    private static func lastElements(_ values: [String]) -> [String] {
        var elements: [String] = []
        for value in values.reversed() {
            var rest = Substring(value)
            while elements.count < mostHops {
                let comma = rest.utf8.lastIndex(of: UInt8(ascii: ","))
                let element = comma.map { rest[rest.utf8.index(after: $0)...] } ?? rest
                if !element.isEmpty { elements.append(element.trimmingCharacters(in: .whitespaces)) }
                guard let comma else { break }
                rest = rest[..<comma]
            }
        }
        return elements
    }

    /// The `for` of one element: `for="[2001:db8::1]:4711";proto=https` (RFC 7239 §4).
    private static func node(_ element: String) -> String {
        for pair in element.split(separator: ";") {
            let parts = pair.split(separator: "=", maxSplits: 1).map { $0.trimmingCharacters(in: .whitespaces) }
            if parts.count == 2, parts[0].lowercased() == "for" { return parts[1].trimmingCharacters(in: ["\""]) }
        }
        return ""
    }

    /// `192.0.2.1`, `192.0.2.1:80`, `2001:db8::1`, `[2001:db8::1]`, `[2001:db8::1]:80`.
    private static func address(_ text: String) -> SocketAddress? {
        if text.hasPrefix("[") { return SocketAddress(text.hasSuffix("]") ? text + ":0" : text) }
        switch text.count(where: { $0 == ":" }) {
        case 0: return numeric(text + ":0")
        case 1: return numeric(text)
        default: return SocketAddress("[\(text)]:0")
        }
    }

    /// `SocketAddress` reads names for this machine too, which are none here.
    private static func numeric(_ text: String) -> SocketAddress? { text.first?.isNumber == true ? SocketAddress(text) : nil }
}
