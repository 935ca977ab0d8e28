import Foundation
import HTTPTypes

/// Which pages may act here in the name of whoever looks at them.
///
/// A browser names the page's origin with each handshake and each write (Fetch standard §3.2). A request without `Origin` comes
/// from no browser, and so from no page.
struct BrowserPolicy: Sendable {
    private let allowed: AllowedOrigins
    /// Names of this server; empty: whatever it is called.
    private let hosts: Set<String>

    init(_ settings: ServerSettings) {
        allowed = settings.allowedOrigins
        hosts = Set(settings.hosts.compactMap { Authority($0)?.name })
    }

    /// A page must come from this server or from a listed origin. An attacker can point a domain name at this server (DNS rebinding),
    /// and the browser then takes the attacker's page for this server's: only a list of the server's names keeps it out.
    func check(_ request: Request) throws(Problem) {
        guard let text = request.field(.origin), !allowed.contains(text) else { return }
        guard let origin = Origin(text), let host = request.host.flatMap(Authority.init), origin.isServed(by: host) else {
            throw Problem(
                .forbidden, "origin_not_allowed",
                "the page's origin is \(text) but Host is \(request.host ?? "missing"): pass Host on in the proxy, or list the origin in allow-origin"
            )
        }
        guard hosts.isEmpty || hosts.contains(host.name) else {
            throw Problem(.misdirectedRequest, "unknown_host", "this server does not answer to \(host.name): add the name to hosts")
        }
    }
}

extension BrowserPolicy {
    /// Whether an answer depends on its page's origin. Mostly no origin is listed, and the field need not be looked for.
    var allowsOthers: Bool { !allowed.isEmpty }

    /// CORS (Fetch standard §3.2) for listed origins; for all others nothing is said, and browsers refuse.
    ///
    /// - Parameter origin: the page's; nil: the request is of no page, or its head could not be read.
    func addCrossOrigin(_ origin: @autoclosure () -> String?, _ method: HTTPRequest.Method, to response: inout Response) {
        guard allowsOthers, !response.fields.contains(.accessControlAllowOrigin) else { return }
        response.fields.append(HTTPField(name: .vary, value: "Origin"))
        guard let origin = origin(), allowed.contains(origin) else { return }
        response.fields[.accessControlAllowOrigin] = origin
        response.fields[.accessControlExposeHeaders] = "ETag, Location, Retry-After"
        guard method == .options else { return }
        response.fields[.accessControlAllowMethods] = response.fields[.allow]
        response.fields[.accessControlAllowHeaders] = "Authorization, Content-Type, Idempotency-Key, If-Match, Last-Event-ID"
        response.fields[.accessControlMaxAge] = "600"
    }
}

/// The origins of others' pages that may act here.
public struct AllowedOrigins: Sendable {
    private var origins: Set<Origin> = []
    /// Pages without an origin of their own: files, and frames that are closed off.
    private var opaque = false

    public init() {}

    /// - Parameter text: origins with commas between them, `null` among them for pages that have none.
    public init(listed text: String) throws(Origin.Unusable) {
        for entry in text.split(separator: ",") {
            let name = entry.trimmingCharacters(in: .whitespaces)
            if name == "null" { opaque = true } else { origins.insert(try Origin(listed: name)) }
        }
    }

    var isEmpty: Bool { origins.isEmpty && !opaque }

    func contains(_ text: String) -> Bool { text == "null" ? opaque : Origin(text).map(origins.contains) ?? false }
}
