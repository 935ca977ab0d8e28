/// A command in the backlog, until it is committed.
protocol PendingCommand: AnyObject, Sendable {
    var queue: QueueID { get }
    /// Decides, or says why not; may be called again after a lost race.
    func decide(_ decision: inout Decision) throws(ServiceError)
    /// Committed; the queue as it is now.
    func succeed(_ snapshot: QueueSnapshot?)
    /// Refused, or given up.
    func fail(_ error: ServiceError)
}

/// A command whose caller waits for the answer.
final class AwaitedCommand<R: Sendable>: PendingCommand, @unchecked Sendable {
    typealias Committed = (result: R, snapshot: QueueSnapshot?)
    typealias Continuation = CheckedContinuation<Result<Committed, ServiceError>, Never>

    let queue: QueueID
    private let epoch: UInt64?
    private let body: @Sendable (inout Decision) throws(ServiceError) -> R
    private let continuation: Continuation
    // Unchecked: the service's, once it has arrived there.
    private var result: R?

    init(
        _ queue: QueueID, _ epoch: UInt64?, _ continuation: Continuation,
        _ body: @escaping @Sendable (inout Decision) throws(ServiceError) -> R
    ) {
        self.queue = queue
        self.epoch = epoch
        self.continuation = continuation
        self.body = body
    }

    func decide(_ decision: inout Decision) throws(ServiceError) {
        guard epoch == nil || epoch == decision.record.epoch else { throw .unavailable(retryAfterSeconds: 1) }
        result = try body(&decision)
    }
    func succeed(_ snapshot: QueueSnapshot?) { continuation.resume(returning: .success((result!, snapshot))) }
    func fail(_ error: ServiceError) { continuation.resume(returning: .failure(error)) }
}
