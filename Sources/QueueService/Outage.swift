public import QueueEngine

/// The store cannot be written.
public struct Outage: Sendable {
    public let since: Timestamp
    /// What those who ask for something are told.
    public let error: ServiceError
    /// When the store took no commit last because it is full. Then only a commit shows that it is over, whatever heartbeats say;
    /// nil: the first heartbeat that is answered ends it.
    let refusedAt: Timestamp?
    /// Whether the store answered last, and can be read.
    var answers: Bool
    /// One commit may be tried.
    var mayTry = false

    /// Where nobody has wanted to commit anything for this long, the store is taken to be well.
    static let forgottenAfter = Timestamp.Span.seconds(5)
}

/// Which queues were committed last: where the store has just taken another queue's commit, what it does not take of one is no
/// outage.
struct LastCommits {
    private var latest: [(queue: QueueID, at: Timestamp)] = []

    private static let span = Timestamp.Span.seconds(10)

    mutating func note(_ queue: QueueID, at now: Timestamp) {
        latest.removeAll { $0.queue == queue }
        latest = latest.suffix(1) + [(queue, now)]
    }

    func hasOther(than queue: QueueID, at now: Timestamp) -> Bool {
        latest.contains { $0.queue != queue && now - $0.at < LastCommits.span }
    }
}
