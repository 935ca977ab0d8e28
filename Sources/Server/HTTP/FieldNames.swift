import HTTPTypes

/// Field names that HTTPTypes does not know. Made once: making one looks at every character of it.
extension HTTPField.Name {
    static let forwarded = HTTPField.Name("Forwarded")!
    static let idempotencyKey = HTTPField.Name("Idempotency-Key")!
    static let lastEventID = HTTPField.Name("Last-Event-ID")!
    static let referrerPolicy = HTTPField.Name("Referrer-Policy")!
    static let secWebSocketVersion = HTTPField.Name("Sec-WebSocket-Version")!
    static let xForwardedFor = HTTPField.Name("X-Forwarded-For")!
}
