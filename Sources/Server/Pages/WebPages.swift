import Crypto
import Foundation
import HTTPProtocol
import HTTPTypes
import WebClient

/// The web client as it is served, made once at the start: pages name their assets by what is in these, so a browser asks for each of
/// them once, and for a page each time.
struct WebPages: Sendable {
    private let assets: [String: ServedFile]
    private let basePath: String
    private let policy: PagePolicy

    init(_ settings: ServerSettings) {
        basePath = settings.basePath
        policy = PagePolicy(frameAncestors: settings.frameAncestors)
        assets = Dictionary(uniqueKeysWithValues: WebClient.assets.map { ($0.paths[0], ServedFile($0.bytes, type: $0.type)) })
    }

    func add(to router: inout Router) {
        add(WebClient.visitorPage, policy.ofVisitors, to: &router)
        for page in WebClient.operatorPages { add(page, policy.ofOperators, to: &router) }
        router.on(.get, "/assets/{name}", as: "page") { request, path in try asset(path.text("name"), request) }
    }

    private func add(_ page: WebFile, _ policy: @escaping @Sendable (Request) -> String, to router: inout Router) {
        let prepared = ServedFile(Array(linked(page).utf8), type: page.type)
        for path in page.paths {
            router.on(.get, path, as: "page") { request, _ in
                var response = prepared.answer(request, caching: "no-cache")
                response.fields[.contentSecurityPolicy] = policy(request)
                response.fields[.referrerPolicy] = "no-referrer"
                return response
            }
        }
    }

    /// The page with its links below the base path, and those to assets by the names that they keep.
    private func linked(_ page: WebFile) -> String {
        var text = String(decoding: page.bytes, as: UTF8.self)
        for (name, asset) in assets {
            text = text.replacing("=\"/assets/\(name)\"", with: "=\"/assets/\(WebPages.versioned(name, asset.version))\"")
        }
        return text.replacing("=\"/", with: "=\"\(basePath)/")
    }

    /// An asset by its own name, which is asked for anew each time, or by one that says what is in it, which never is. Behind a proxy a page
    /// may come from an instance of another version than its asset: that is answered with what is here, and nobody keeps it.
    private func asset(_ name: String, _ request: Request) throws -> Response {
        if let asset = assets[name] { return asset.answer(request, caching: "no-cache") }
        let parts = name.split(separator: ".")
        guard parts.count == 3, let asset = assets["\(parts[0]).\(parts[2])"] else { throw Problem.notFound }
        return asset.answer(request, caching: parts[1] == asset.version ? "public, max-age=31536000, immutable" : "no-store")
    }

    /// `visitor.js` as `visitor.0123abcd.js`.
    private static func versioned(_ name: String, _ version: String) -> String {
        name.split(separator: ".").joined(separator: ".\(version).")
    }
}

/// Bytes that are served as they are, and compressed to whoever takes that.
private struct ServedFile: Sendable {
    let version: String
    private let type: String
    private let plain: [UInt8]
    private let compressed: [UInt8]

    init(_ bytes: [UInt8], type: String) {
        plain = bytes
        compressed = gzip(bytes)
        version = SHA256.hash(data: bytes).prefix(8).map { String(format: "%02x", $0) }.joined()
        self.type = type
    }

    func answer(_ request: Request, caching: String) -> Response {
        let isCompressed = request.takesGzip
        let tag = isCompressed ? version + "-gzip" : version
        var response = Response(.ok, body: isCompressed ? compressed : plain, type: type)
        if isCompressed { response.fields[.contentEncoding] = "gzip" }
        response.fields[.vary] = "Accept-Encoding"
        response.fields[.eTag] = "\"\(tag)\""
        response.fields[.cacheControl] = caching
        if EntityTags(request.fields[values: .ifNoneMatch])?.matches(weakly: tag) == true {
            response.status = .notModified
            response.body = []
            response.fields[.contentEncoding] = nil
        }
        return response
    }
}

extension Request {
    /// Whether the answer may be compressed (RFC 9110 §12.5.3).
    fileprivate var takesGzip: Bool {
        let codings = fields.tokens(.acceptEncoding).map { $0.split(separator: ";").map { $0.filter { $0 != " " } } }
        // `*` stands for those that are not named.
        guard let coding = codings.first(where: { $0.first == "gzip" }) ?? codings.first(where: { $0.first == "*" }) else { return false }
        return !coding.dropFirst().contains { $0.wholeMatch(of: /q=0(\.0*)?/) != nil }
    }
}
