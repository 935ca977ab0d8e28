import QueueEngine

/// The queues that were committed last, and when. Where the store has just taken the commit of one queue, its refusal of another
/// one's is no outage.
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
