import EventLoop
public import QueueEngine
public import QueueService
import Locks
import Synchronization

/// The machine's clock made steady, and timers on the service's loop.
public final class SystemClock: ServiceClock {
    private let loop: EventLoop
    private let time: Lock<SteadyTime>

    init(loop: EventLoop) {
        self.loop = loop
        time = Lock(SteadyTime(wall: EventLoop.realtimeMicroseconds(), elapsed: SystemClock.elapsed()))
    }

    private static func elapsed() -> Int64 { Int64(EventLoop.monotonicNow() / 1_000) }

    public func now() -> Timestamp {
        Timestamp(microseconds: time.withLock { $0.now(wall: EventLoop.realtimeMicroseconds(), elapsed: SystemClock.elapsed()) })
    }

    public func observe(_ moment: Timestamp) { time.withLock { $0.observe(moment.microseconds) } }

    /// The time of day at a moment of queues' time: what is signed is read by other people's clocks.
    func timeOfDay(_ moment: Timestamp) -> Timestamp {
        Timestamp(microseconds: moment.microseconds + EventLoop.realtimeMicroseconds() - now().microseconds)
    }

    public func wake(at moment: Timestamp, _ body: @escaping @Sendable () -> Void) {
        loop.execute { [self] in
            let wait = max(0, (moment - now()).microseconds)
            // Time may run slower than the loop's for a while, and then this is asked for once more.
            loop.schedule(after: UInt64(min(wait, 60_000_000)) * 1_000, body)
        }
    }
}

public struct SystemRandom: RandomSource {
    public init() {}
    public func next() -> UInt64 {
        var generator = SystemRandomNumberGenerator()
        return generator.next()
    }
}
