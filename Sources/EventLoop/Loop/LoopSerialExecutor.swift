/// Lets actors live on a loop.
///
/// Not the loop itself: a job that is run as an actor's is sent to the same loop anew at each call of a function that
/// belongs to no actor, and what serves a request is nothing but such calls.
public final class LoopSerialExecutor: SerialExecutor {
    private let loop: EventLoop

    public init(_ loop: EventLoop) { self.loop = loop }

    public func enqueue(_ job: consuming ExecutorJob) { loop.enqueue(UnownedJob(job), of: asUnownedSerialExecutor()) }

    /// Runs `body` on the loop, soon.
    public func execute(_ body: @escaping @Sendable () -> Void) { loop.execute(body) }

    public var tasks: any TaskExecutor { loop }

    public func checkIsolated() { loop.preconditionOnLoop() }
}
