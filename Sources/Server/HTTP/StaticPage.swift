import Crypto
import Foundation
import HTTPTypes
import WebClient

/// A file of the web client, compiled in. Browsers keep it and ask whether it is still the same.
struct StaticPage: Sendable {
    private let file: WebFile
    private let tag: String

    init(_ file: WebFile) {
        self.file = file
        tag = Data(SHA256.hash(data: Data(file.bytes)).prefix(12)).base64URL()
    }

    /// No inline script, nothing from elsewhere, no frame around it.
    private static let policy = """
        default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; \
        base-uri 'none'; form-action 'none'; frame-ancestors 'none'
        """

    func answer(_ request: Request) -> Response {
        var response = Response(.ok, body: file.bytes, type: file.type)
        response.fields[.eTag] = "\"\(tag)\""
        response.fields[.cacheControl] = "no-cache"
        response.fields[.contentSecurityPolicy] = StaticPage.policy
        response.fields[.referrerPolicy] = "no-referrer"
        if EntityTags(request.fields[values: .ifNoneMatch])?.matches(weakly: tag) == true {
            response.status = .notModified
            response.body = []
        }
        return response
    }
}
