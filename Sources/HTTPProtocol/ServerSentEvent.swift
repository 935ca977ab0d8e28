/// One event of a `text/event-stream` (WHATWG HTML §9.2.6).
public struct ServerSentEvent: Sendable, Equatable {
    /// Becomes `Last-Event-ID` when the client comes back. Must hold no line break and no NUL.
    public var id: String?
    public var event: String?
    public var data: String

    public init(id: String? = nil, event: String? = nil, data: String) {
        self.id = id
        self.event = event
        self.data = data
    }

    public func encode(into bytes: inout [UInt8]) {
        if let id { bytes.append(contentsOf: "id: \(id)\n".utf8) }
        if let event { bytes.append(contentsOf: "event: \(event)\n".utf8) }
        for line in data.split(separator: "\n", omittingEmptySubsequences: false) {
            bytes.append(contentsOf: "data: \(line)\n".utf8)
        }
        bytes.append(0x0A)
    }

    /// A comment, which keeps proxies from closing a quiet stream.
    public static let keepAlive: [UInt8] = Array(": keep-alive\n\n".utf8)
}
