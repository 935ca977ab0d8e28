import HTTPProtocol
import HTTPTypes

/// An answer, whole.
struct Response {
    var status: HTTPResponse.Status
    var fields = HTTPFields()
    var body: [UInt8]
    /// Takes the connection over once the head is sent, for a stream of events.
    var follower: EventReader?

    init(_ status: HTTPResponse.Status, body: [UInt8] = [], type: String? = nil) {
        self.status = status
        self.body = body
        if let type { fields[.contentType] = type }
    }

    /// JSON, never cached.
    static func json(_ status: HTTPResponse.Status = .ok, _ members: (inout [UInt8]) -> Void) -> Response {
        var body: [UInt8] = []
        body.reserveCapacity(512)  // Most answers fit, and nothing is copied as they grow.
        body.object(members)
        var response = Response(status, body: body, type: "application/json")
        response.fields[.cacheControl] = "no-store"
        return response
    }

    /// What is sent with every answer beside its own fields.
    ///
    /// - Parameter closes: the connection carries no request after this one (RFC 9112 §9.6).
    func sentFields(closes: Bool) -> HTTPFields {
        var fields = fields
        fields[.xContentTypeOptions] = "nosniff"
        if closes { fields[.connection] = "close" }
        return fields
    }

    /// - Parameter head: the request was HEAD: no content follows.
    func encoded(closes: Bool, head: Bool = false) -> [UInt8] {
        var bytes: [UInt8] = []
        let message = HTTPResponse(status: status, headerFields: sentFields(closes: closes))
        MessageEncoder.encode(message, body: body, head: head, into: &bytes)
        return bytes
    }
}
