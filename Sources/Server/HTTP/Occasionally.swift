import EventLoop
import Synchronization

/// Something that is worth saying now and then, however often it happens.
final class Occasionally: Sendable {
    private let quietUntil = Atomic<UInt64>(0)
    private let nanoseconds: UInt64

    init(everySeconds seconds: UInt64) { nanoseconds = seconds * 1_000_000_000 }

    /// Whether it is time to say it. Then it is said, and not again before that time has passed.
    func isDue() -> Bool {
        let now = EventLoop.monotonicNow()
        let until = quietUntil.load(ordering: .relaxed)
        return now >= until && quietUntil.compareExchange(expected: until, desired: now + nanoseconds, ordering: .relaxed).exchanged
    }
}
