import QueueEngine

/// A queue's sessions of which it is known that they are part of the history that a restored store tells: the store was asked
/// about them, or they were made since the replica tells that history. Nobody asks again with each poll, nor while the store is away.
struct ConfirmedSessions {
    /// Beyond it an arbitrary one is forgotten, and the store asked about it again.
    private static let limit = 50_000
    /// The clocks of those that make sessions are not quite the same.
    private static let margin = Timestamp.Span.seconds(60)

    private let since: Timestamp
    private var sessions: Set<SessionID> = []

    init(since moment: Timestamp) { since = moment }

    func contains(_ session: SessionID) -> Bool {
        session.madeAt > since + ConfirmedSessions.margin || sessions.contains(session)
    }

    mutating func insert(_ session: SessionID) {
        if sessions.count >= ConfirmedSessions.limit { sessions.removeFirst() }
        sessions.insert(session)
    }
}
