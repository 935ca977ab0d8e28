import QueueEngine

/// Sessions of which it is known that they are part of the history that a restored store tells: the store was asked for them, or
/// they were made since this instance has known that history. Nobody asks again with each poll, nor while the store is away.
struct ConfirmedSessions {
    /// How many are remembered. With one more, all are asked for anew.
    private static let limit = 100_000
    /// The clocks of those that make sessions are not quite the same.
    private static let margin = Timestamp.Span.seconds(60)

    private let since: Timestamp
    private var sessions: Set<SessionID> = []

    init(since moment: Timestamp) { since = moment }

    func contains(_ session: SessionID) -> Bool {
        session.madeAt > since + ConfirmedSessions.margin || sessions.contains(session)
    }

    mutating func insert(_ session: SessionID) {
        if sessions.count >= ConfirmedSessions.limit { sessions = [] }
        sessions.insert(session)
    }
}
