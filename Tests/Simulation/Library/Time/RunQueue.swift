import DequeModule
import Glibc
import QueueService

/// What one instance has to run, in the order in which it came, as an event loop would.
final class RunQueue: ServiceExecutor, @unchecked Sendable {
    private enum Work {
        /// Of an actor on this executor.
        case actor(UnownedJob)
        /// Of a task that prefers this executor.
        case task(UnownedJob)
        /// Of nobody's executor: in production it would have gone to the global pool.
        case stray(UnownedJob)
        case body(() -> Void)
    }

    /// Tasks that prefer the instance's thread.
    private final class Tasks: TaskExecutor, @unchecked Sendable {
        weak var queue: RunQueue?
        func enqueue(_ job: consuming ExecutorJob) { queue?.work.append(.task(UnownedJob(job))) }
    }

    /// An executor of nobody, so that a stray job must hop to reach an actor, as from the global pool.
    private final class Elsewhere: SerialExecutor, @unchecked Sendable {
        weak var queue: RunQueue?
        func enqueue(_ job: consuming ExecutorJob) { queue?.work.append(.stray(UnownedJob(job))) }
    }

    private var work = Deque<Work>()
    private let taskExecutor = Tasks()
    private let elsewhere = Elsewhere()
    /// The process stands still: what comes waits.
    var isFrozen = false
    private(set) var strays = 0

    var tasks: any TaskExecutor { taskExecutor }
    var isRunnable: Bool { !isFrozen && !work.isEmpty }
    var count: Int { work.count }

    init() {
        taskExecutor.queue = self
        elsewhere.queue = self
    }

    func enqueue(_ job: consuming ExecutorJob) { work.append(.actor(UnownedJob(job))) }
    func execute(_ body: @escaping @Sendable () -> Void) { work.append(.body(body)) }
    func add(_ body: @escaping () -> Void) { work.append(.body(body)) }
    func checkIsolated() {}

    func runNext() {
        switch work.removeFirst() {
        case .actor(let job): job.runSynchronously(on: asUnownedSerialExecutor())
        case .task(let job): job.runSynchronously(on: taskExecutor.asUnownedTaskExecutor())
        case .stray(let job): job.runSynchronously(on: elsewhere.asUnownedSerialExecutor())
        case .body(let body): body()
        }
    }

    fileprivate func addStray(_ job: UnownedJob) {
        strays += 1
        work.append(.stray(job))
    }
}

/// Jobs that would run on the global pool run in the simulation's thread instead, in the run queue of whoever made them.
///
/// The runtime offers a hook for that (`ConcurrencyHooks.h` in Swift's own sources). It is the process's, so a process
/// that simulates does nothing else.
enum GlobalPool {
    private typealias Original = @convention(thin) (UnownedJob) -> Void
    private typealias Hook = @convention(thin) (UnownedJob, Original) -> Void
    nonisolated(unsafe) private static var scheduler: Scheduler?
    nonisolated(unsafe) private static var fallback: RunQueue?

    /// - Parameter fallback: where jobs go that no run queue has made.
    static func capture(for scheduler: Scheduler, fallback: RunQueue) {
        self.scheduler = scheduler
        self.fallback = fallback
        guard let symbol = dlsym(nil, "swift_task_enqueueGlobal_hook") else {
            fatalError("this Swift has no hook for the global pool; link its libraries dynamically")
        }
        symbol.assumingMemoryBound(to: Optional<Hook>.self).pointee = { job, _ in
            (GlobalPool.scheduler?.running ?? GlobalPool.fallback)!.addStray(job)
        }
    }
}
