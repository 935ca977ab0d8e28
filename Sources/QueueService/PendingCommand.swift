/// A command that waits for its commit.
protocol PendingCommand: AnyObject, Sendable {
    var queue: QueueID { get }
    /// Decides, or says why not; may be called again after a lost race.
    func decide(_ decision: inout Decision) throws(ServiceError)
    /// Committed; the queue as it is now.
    func succeed(_ snapshot: QueueSnapshot?)
    /// Will not be. False: it wants to be tried again.
    func fail(_ error: ServiceError) -> Bool
}

/// A command that somebody waits for.
final class AwaitedCommand<R: Sendable>: PendingCommand, @unchecked Sendable {
    typealias Committed = (result: R, snapshot: QueueSnapshot?)
    typealias Continuation = CheckedContinuation<Result<Committed, ServiceError>, Never>

    let queue: QueueID
    private let body: @Sendable (inout Decision) throws(ServiceError) -> R
    private let continuation: Continuation
    // Unchecked: the service's, once it has arrived there.
    private var result: R?

    init(_ queue: QueueID, _ continuation: Continuation, _ body: @escaping @Sendable (inout Decision) throws(ServiceError) -> R) {
        self.queue = queue
        self.continuation = continuation
        self.body = body
    }

    func decide(_ decision: inout Decision) throws(ServiceError) { result = try body(&decision) }
    func succeed(_ snapshot: QueueSnapshot?) { continuation.resume(returning: .success((result!, snapshot))) }
    func fail(_ error: ServiceError) -> Bool {
        continuation.resume(returning: .failure(error))
        return true
    }
}

/// A command that nobody waits for and that must not be lost: who is in sight.
final class StandingCommand: PendingCommand {
    let queue: QueueID
    private let body: @Sendable (inout Decision) throws(ServiceError) -> Void

    init(_ queue: QueueID, _ body: @escaping @Sendable (inout Decision) throws(ServiceError) -> Void) {
        self.queue = queue
        self.body = body
    }

    func decide(_ decision: inout Decision) throws(ServiceError) { try body(&decision) }
    func succeed(_ snapshot: QueueSnapshot?) {}
    func fail(_ error: ServiceError) -> Bool { !error.isOfTheStore }
}
