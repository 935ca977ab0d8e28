import EventLoop
import Foundation
import HTTPTypes

/// Which pages may act here in the name of whoever looks at them.
///
/// Every browser names the page's origin with each handshake and each write (Fetch standard §3.2). Only what is no browser
/// names none, and acts for nobody but itself.
struct BrowserPolicy: Sendable {
    private let allowedOrigins: Set<String>
    /// Names of this server, without ports; empty: whatever it is called.
    private let hosts: Set<String>

    init(_ settings: ServerSettings) {
        allowedOrigins = settings.allowedOrigins
        hosts = Set(settings.hosts.map { $0.lowercased() })
    }

    /// A page must come from here or from a listed origin.
    func check(_ request: Request) throws(Problem) {
        guard let origin = request.field(.origin), !allowedOrigins.contains(origin) else { return }
        guard let host = request.host.map(Authority.init), BrowserPolicy.isSame(origin, host) else {
            throw Problem(.forbidden, "origin_not_allowed", "pages of this origin may not act here")
        }
        guard isKnown(host, to: request.peer) else {
            throw Problem(
                .misdirectedRequest, "unknown_host",
                "this server is not known as \(host.name): name it in the setting hosts, or the proxy before it in trusted-proxies")
        }
    }

    /// The owner of a page can have its name lead here (DNS rebinding), and for the browser the page then comes from here. A client
    /// on this machine needs no name but the machine's own, unless `hosts` says so.
    private func isKnown(_ host: Authority, to client: SocketAddress) -> Bool {
        if !hosts.isEmpty { return hosts.contains(host.name) }
        return !client.isLoopback || host.isThisMachine
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
    let name: String
    let port: String?

    init(_ text: String) {
        let text = text.lowercased()
        // The colons of an IPv6 address stand within brackets.
        guard let colon = text.lastIndex(of: ":"), !text[colon...].contains("]") else {
            (name, port) = (text, nil)
            return
        }
        (name, port) = (String(text[..<colon]), text[colon...].count > 1 ? String(text[text.index(after: colon)...]) : nil)
    }

    /// An address is no name that somebody could have lead here.
    var isThisMachine: Bool {
        if name == "localhost" || name.hasSuffix(".localhost") { return true }
        return name.first?.isNumber == true || name.hasPrefix("[") ? SocketAddress(name + ":0") != nil : false
    }
}
