import EventLoop
import Foundation

/// Where a page comes from: scheme, host and port (RFC 6454 §4), in one spelling, whichever it was written in.
///
/// App shells and extensions have schemes of their own (`capacitor://localhost`); `null` stands for pages that have no origin
/// that could be told.
public struct Origin: Hashable, Sendable {
    private let scheme: String
    private let authority: Authority

    /// What can be listed and never be what a browser sends.
    public struct Unusable: Error {
        public let entry: String
        public let reason: String
    }

    private static let usualPorts: [String: UInt16] = ["http": 80, "https": 443]

    /// As a browser writes it in `Origin`; nil where it is none, or opaque.
    init?(_ text: String) {
        guard let cut = text.range(of: "://"), let authority = Authority(String(text[cut.upperBound...])) else { return nil }
        scheme = text[..<cut.lowerBound].lowercased()
        guard Origin.isScheme(scheme) else { return nil }
        self.authority = authority.with(port: authority.port ?? Origin.usualPorts[scheme])
    }

    /// As an operator lists it.
    ///
    /// - Throws: why no page can have this origin.
    public init(listed text: String) throws(Unusable) {
        guard !text.contains("*") else { throw Unusable(entry: text, reason: "has a wildcard: each origin is listed by itself") }
        guard let cut = text.range(of: "://") else {
            throw Unusable(entry: text, reason: "has no scheme: write it like https://shop.example")
        }
        guard text.utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7F }) else {
            throw Unusable(entry: text, reason: "is not what browsers send: write the name in its encoded form (xn--…)")
        }
        guard text[cut.upperBound...].allSatisfy({ !"/?#@".contains($0) }) else {
            throw Unusable(entry: text, reason: "has more than a scheme, a name and a port")
        }
        guard let origin = Origin(text) else { throw Unusable(entry: text, reason: "is not written like https://shop.example") }
        switch origin.scheme {
        case "file": throw Unusable(entry: text, reason: "is what no page has: browsers send null for files")
        case "ws", "wss":
            throw Unusable(entry: text, reason: "is what no page has: a page's scheme is \(origin.scheme == "ws" ? "http" : "https")")
        default: self = origin
        }
    }

    /// Whether a page of this origin was fetched from `host`, by HTTP or HTTPS.
    func isServed(by host: Authority) -> Bool {
        guard let usual = Origin.usualPorts[scheme] else { return false }
        return authority == host.with(port: host.port ?? usual)
    }

    /// RFC 3986 §3.1.
    private static func isScheme(_ text: String) -> Bool {
        guard let first = text.utf8.first, (0x61...0x7A).contains(first) else { return false }
        return text.utf8.allSatisfy { (0x61...0x7A).contains($0) || (0x30...0x39).contains($0) || [0x2B, 0x2D, 0x2E].contains($0) }
    }
}

/// `host:port` (RFC 3986 §3.2), in one spelling.
struct Authority: Hashable, Sendable {
    /// Addresses as browsers write them, names in small letters and without the dot that may end them.
    let name: String
    let port: UInt16?

    private init(name: String, port: UInt16?) { (self.name, self.port) = (name, port) }

    func with(port: UInt16?) -> Authority { Authority(name: name, port: port) }

    /// nil where there is no name, or a port that is none.
    init?(_ text: String) {
        var text = text.lowercased()
        var port: UInt16?
        // The colons of an IPv6 address stand within brackets.
        if let colon = text.lastIndex(of: ":"), !text[colon...].contains("]") {
            let digits = text[text.index(after: colon)...]
            if !digits.isEmpty {
                guard digits.utf8.allSatisfy({ (0x30...0x39).contains($0) }), let number = UInt16(digits) else { return nil }
                port = number
            }
            text = String(text[..<colon])
        }
        if text.hasPrefix("[") {
            guard let address = SocketAddress(text + ":0") else { return nil }
            text = "[\(address.hostText)]"
        } else if text.hasSuffix(".") {
            text.removeLast()
        }
        guard !text.isEmpty else { return nil }
        self.init(name: text, port: port)
    }
}
