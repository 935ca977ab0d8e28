import HTTPProtocol
import HTTPTypes

/// An answer, whole.
struct Response {
    var status: HTTPResponse.Status
    var fields = Response.always
    var body: [UInt8]
    /// Takes the connection over once the head is sent, for a stream of events.
    var follower: EventReader?

    init(_ status: HTTPResponse.Status, body: [UInt8] = [], type: String? = nil) {
        self.status = status
        self.body = body
        if let type { fields[.contentType] = type }
    }

    /// What stands in every answer, and in each with JSON: made once.
    private static let always: HTTPFields = [.xContentTypeOptions: "nosniff"]
    private static let ofJSON: HTTPFields = [
        .xContentTypeOptions: "nosniff", .contentType: "application/json", .cacheControl: "no-store",
    ]

    /// JSON, never cached.
    static func json(_ status: HTTPResponse.Status = .ok, _ members: (inout [UInt8]) -> Void) -> Response {
        var body: [UInt8] = []
        body.reserveCapacity(512)  // Most answers fit, and nothing is copied as they grow.
        body.object(members)
        var response = Response(status, body: body)
        response.fields = ofJSON
        return response
    }

    /// - Parameter closes: the connection carries no request after this one (RFC 9112 §9.6).
    func sentFields(closes: Bool) -> HTTPFields {
        guard closes else { return fields }
        var fields = fields
        fields[.connection] = "close"
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
