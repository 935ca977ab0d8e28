/// A command that waits for its commit.
protocol PendingCommand: AnyObject {
    var queue: QueueID { get }
    /// Decides, or says why not; may be called again after a lost race.
    func decide(_ decision: inout Decision) throws(ServiceError)
    /// Committed.
    func succeed()
    /// Will not be. False: it wants to be tried again.
    func fail(_ error: ServiceError) -> Bool
}

/// A command that somebody waits for.
final class AwaitedCommand<R: Sendable>: PendingCommand {
    let queue: QueueID
    private let body: (inout Decision) throws(ServiceError) -> R
    private let continuation: CheckedContinuation<Result<R, ServiceError>, Never>
    private var result: R?

    init(
        _ queue: QueueID, _ continuation: CheckedContinuation<Result<R, ServiceError>, Never>,
        _ body: @escaping (inout Decision) throws(ServiceError) -> R
    ) {
        self.queue = queue
        self.continuation = continuation
        self.body = body
    }

    func decide(_ decision: inout Decision) throws(ServiceError) { result = try body(&decision) }
    func succeed() { continuation.resume(returning: .success(result!)) }
    func fail(_ error: ServiceError) -> Bool {
        continuation.resume(returning: .failure(error))
        return true
    }
}

/// A command that nobody waits for and that must not be lost: who is in sight.
final class StandingCommand: PendingCommand {
    let queue: QueueID
    private let body: (inout Decision) throws(ServiceError) -> Void

    init(_ queue: QueueID, _ body: @escaping (inout Decision) throws(ServiceError) -> Void) {
        self.queue = queue
        self.body = body
    }

    func decide(_ decision: inout Decision) throws(ServiceError) { try body(&decision) }
    func succeed() {}
    func fail(_ error: ServiceError) -> Bool { !error.isOfTheStore }
}
