import WebSocketProtocol

/// Why this server ends a visitor's connection. A contract: the range tells the client whether to come back.
///
/// 1000–1999: RFC 6455. 4000–4499: come back, with jitter. 4500–4999: final, coming back is of no use.
enum LiveClose: UInt16, CaseIterable {
    /// The server goes or restarts; a `reconnect` frame said when to come back.
    case restarting = 1012
    /// The first frame did not come within 5 s.
    case noFirstFrame = 4001
    /// What must be kept in order has passed its limit: the peer does not read.
    case slowConsumer = 4002
    /// A newer connection of the same session has taken over.
    case replaced = 4003
    /// Too many messages.
    case rateLimited = 4008
    /// The session is over; an `ended` frame said why.
    case sessionEnded = 4500
    /// The token is not valid; why is not said.
    case unauthorized = 4501
    case noSuchQueue = 4502
    /// A message that is none, or out of turn.
    case badMessage = 4503

    var code: CloseCode { CloseCode(rawValue) }

    var reason: String {
        switch self {
        case .restarting: "the server restarts"
        case .noFirstFrame: "no first frame in time"
        case .slowConsumer: "too slow; come back"
        case .replaced: "replaced by a newer connection"
        case .rateLimited: "too many messages"
        case .sessionEnded: "the session has ended"
        case .unauthorized: "unauthorized"
        case .noSuchQueue: "no such queue"
        case .badMessage: "bad message"
        }
    }
}
