/// What a page may load, whom it may speak to, and who may show it in a frame (Content Security Policy, level 3).
struct PagePolicy: Sendable {
    private let frameAncestors: String

    /// - Parameter frameAncestors: who may frame a visitor's page: `'none'`, `'self'` or origins with spaces between them.
    init(frameAncestors: String) { self.frameAncestors = frameAncestors }

    func ofVisitors(_ request: Request) -> String { PagePolicy.text(request, frameAncestors) }

    /// An operator's key is typed into these.
    func ofOperators(_ request: Request) -> String { PagePolicy.text(request, "'none'") }

    /// No inline script, and nothing from elsewhere.
    private static func text(_ request: Request, _ frameAncestors: String) -> String {
        """
        default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'\(sockets(request)); \
        base-uri 'none'; form-action 'none'; frame-ancestors \(frameAncestors)
        """
    }

    /// Safari before 16 takes `'self'` for HTTP alone, and no WebSocket would be allowed.
    private static func sockets(_ request: Request) -> String {
        guard let host = request.host, host.utf8.allSatisfy(isOfHost), host.count <= 255 else { return "" }
        return " ws://\(host) wss://\(host)"
    }

    private static func isOfHost(_ byte: UInt8) -> Bool {
        (0x30...0x39).contains(byte) || (0x41...0x5A).contains(byte & 0xDF) || [0x2D, 0x2E, 0x3A, 0x5B, 0x5D, 0x5F].contains(byte)
    }
}
