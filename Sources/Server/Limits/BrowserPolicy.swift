import EventLoop
import Foundation
import HTTPTypes

/// Which pages may act here in the name of whoever looks at them.
///
/// A browser names the page's origin with each handshake and each write (Fetch standard §3.2). A request without `Origin` comes
/// from no browser, and so from no page.
struct BrowserPolicy: Sendable {
    let allowedOrigins: Set<String>
    /// Names of this server; empty: whatever it is called.
    private let hosts: Set<String>

    init(_ settings: ServerSettings) {
        allowedOrigins = settings.allowedOrigins
        hosts = Set(settings.hosts.map { Authority($0).name })
    }

    /// A page must come from this server or from a listed origin. An attacker can point a domain name at this server (DNS rebinding),
    /// and the browser then takes the attacker's page for this server's: only a list of the server's names keeps it out.
    func check(_ request: Request) throws(Problem) {
        guard let origin = request.field(.origin), !allowedOrigins.contains(origin) else { return }
        guard let host = request.host.map(Authority.init), BrowserPolicy.isSame(origin, host) else {
            throw Problem(
                .forbidden, "origin_not_allowed",
                "the page's origin is \(origin) but Host is \(request.host ?? "missing"): pass Host on in the proxy, or list the origin in allow-origin"
            )
        }
        guard hosts.isEmpty || hosts.contains(host.name) else {
            throw Problem(.misdirectedRequest, "unknown_host", "this server does not answer to \(host.name): add the name to hosts")
        }
    }

    private static func isSame(_ origin: String, _ host: Authority) -> Bool {
        guard let cut = origin.range(of: "://") else { return false }
        let page = Authority(String(origin[cut.upperBound...]))
        let usual = origin[..<cut.lowerBound].lowercased() == "https" ? "443" : "80"
        return page.name == host.name && (page.port ?? usual) == (host.port ?? usual)
    }
}

/// `host:port` (RFC 3986 §3.2).
private struct Authority {
    /// Addresses as browsers write them, names without the dot that may end them.
    let name: String
    let port: String?

    init(_ text: String) {
        var text = text.lowercased()
        var port: String?
        // The colons of an IPv6 address stand within brackets.
        if let colon = text.lastIndex(of: ":"), !text[colon...].contains("]") {
            let digits = text[text.index(after: colon)...]
            port = digits.isEmpty ? nil : String(digits)
            text = String(text[..<colon])
        }
        self.port = port
        if text.hasPrefix("["), let address = SocketAddress(text + ":0") {
            name = "[\(address.hostText)]"
        } else {
            name = text.hasSuffix(".") ? String(text.dropLast()) : text
        }
    }
}
