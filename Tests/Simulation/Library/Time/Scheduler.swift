import DequeModule
import HeapModule
import QueueEngine

/// Virtual time, and everything that waits for it. One thread runs all: what is due, and the jobs of every run queue.
///
/// Time moves only when no job can run, so a program that does nothing costs nothing, however long it does it.
final class Scheduler: @unchecked Sendable {
    private struct Event: Comparable {
        let at: Int64
        /// Of events at one moment the one that was scheduled first comes first.
        let order: UInt64
        let action: () -> Void
        static func < (a: Event, b: Event) -> Bool { (a.at, a.order) < (b.at, b.order) }
        static func == (a: Event, b: Event) -> Bool { a.order == b.order }
    }

    /// The true time, which is the store's clock.
    private(set) var now = Timestamp(seconds: 1_700_000_000)
    private var events = Heap<Event>()
    private var order: UInt64 = 0
    private var runQueues: [RunQueue] = []
    private var dice: Dice
    /// Whose job runs just now.
    private(set) var running: RunQueue?
    private(set) var jobsRun = 0
    private(set) var jobsAtThisMoment = 0

    /// Jobs at one moment of virtual time, above which a program is said to spin.
    static let spinLimit = 200_000

    init(dice: Dice) { self.dice = dice }

    var isSpinning: Bool { jobsAtThisMoment > Scheduler.spinLimit }

    func add(_ queue: RunQueue) { runQueues.append(queue) }
    func remove(_ queue: RunQueue) { runQueues.removeAll { $0 === queue } }

    /// Does `action` at `moment`, or now where that has passed.
    func at(_ moment: Timestamp, _ action: @escaping () -> Void) {
        order += 1
        events.insert(Event(at: max(moment, now).microseconds, order: order, action: action))
    }

    func after(_ span: Timestamp.Span, _ action: @escaping () -> Void) { at(now + span, action) }

    /// Runs until `end`, or until `isOver` says so.
    func run(until end: Timestamp, isOver: () -> Bool) {
        while !isOver() {
            if runJob() { continue }
            guard let next = events.min, next.at <= end.microseconds else { break }
            let event = events.removeMin()
            if event.at > now.microseconds {
                now = Timestamp(microseconds: event.at)
                jobsAtThisMoment = 0
            }
            event.action()
        }
        if !isOver() { now = max(now, end) }
    }

    /// Runs one job of a run queue that the seed chooses; false where there is none.
    private func runJob() -> Bool {
        var count = 0
        for queue in runQueues where queue.isRunnable { count += 1 }
        guard count > 0 else { return false }
        var chosen = count == 1 ? 0 : Int(dice.next() % UInt64(count))
        for queue in runQueues where queue.isRunnable {
            if chosen == 0 {
                running = queue
                queue.runNext()
                running = nil
                break
            }
            chosen -= 1
        }
        jobsRun += 1
        jobsAtThisMoment += 1
        return true
    }
}
