import EventLoop
public import QueueEngine
public import QueueService

/// The machine's clock, and timers on the service's loop.
public struct SystemClock: ServiceClock {
    let loop: EventLoop

    public func now() -> Timestamp {
        Timestamp(microseconds: EventLoop.realtimeMicroseconds())
    }

    public func wake(at moment: Timestamp, _ body: @escaping @Sendable () -> Void) {
        let loop = loop
        loop.execute {
            let wait = max(0, (moment - now()).microseconds)
            // A clock that is set back must not stop a queue for longer than this.
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
