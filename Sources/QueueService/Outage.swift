public import QueueEngine

/// The store cannot be written.
public struct Outage: Sendable {
    public let since: Timestamp
    /// What those who ask for something are told.
    public let error: ServiceError
    /// When a full store refused the last commit: the outage ends with a commit that succeeds, or `forgottenAfter` later. nil: it
    /// ends with the first heartbeat that is answered.
    let refusedAt: Timestamp?
    /// Whether reads are sent to the store: a full one can be read, as long as it answers.
    var allowsReading: Bool
    /// One trial commit may be made.
    var mayTry = false

    /// An outage of a full store is taken to be over this long after the last refusal, if nothing waits to be committed.
    static let forgottenAfter = Timestamp.Span.seconds(5)
}
