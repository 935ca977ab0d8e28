/// Why a connection ends (RFC 6455 §7.4, IANA "WebSocket Close Code Number Registry").
public struct CloseCode: RawRepresentable, Sendable, Hashable {
    public let rawValue: UInt16
    public init(rawValue: UInt16) { self.rawValue = rawValue }
    public init(_ rawValue: UInt16) { self.rawValue = rawValue }

    public static let normal = CloseCode(1000)
    public static let goingAway = CloseCode(1001)
    public static let protocolError = CloseCode(1002)
    public static let unsupportedData = CloseCode(1003)
    /// A close frame without a code; never sent.
    public static let noStatus = CloseCode(1005)
    /// No close frame at all; never sent.
    public static let abnormal = CloseCode(1006)
    public static let invalidData = CloseCode(1007)
    public static let policyViolation = CloseCode(1008)
    public static let messageTooBig = CloseCode(1009)
    public static let internalError = CloseCode(1011)
    public static let serviceRestart = CloseCode(1012)

    /// Whether a peer may send it: 1000–1003, 1007–1014, 3000–4999.
    public var mayBeReceived: Bool {
        switch rawValue {
        case 1000...1003, 1007...1014, 3000...4999: true
        default: false
        }
    }
}

/// A rule of RFC 6455 that the peer has broken: the close code that it is sent, and which rule it was.
public struct WebSocketError: Error, Sendable, Equatable {
    public let code: CloseCode
    /// At most 123 bytes, which is what a close frame has room for (RFC 6455 §5.5.1).
    public let reason: String

    init(_ code: CloseCode, _ reason: String) {
        self.code = code
        self.reason = reason
    }
}
