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
        body.object(members)
        var response = Response(status, body: body, type: "application/json")
        response.fields[.cacheControl] = "no-store"
        return response
    }
}
