public import EventLoop
public import QueueEngine
public import QueueService
import Locks

/// The machine's clock made steady, and timers on the service's loop.
public final class SystemClock: ServiceClock {
    private struct State {
        /// nil: nothing is known but the machine's own clock.
        var offset: Int64?
        var time: SteadyTime
        /// The store's time of day, or the machine's.
        var wall: Int64 { EventLoop.realtimeMicroseconds() + (offset ?? 0) }
    }

    private let loop: EventLoop
    private let state: Lock<State>
    /// What took longer to ask tells too little.
    private static let longestRoundTrip = Timestamp.Span.milliseconds(250)

    public init(loop: EventLoop) {
        self.loop = loop
        state = Lock(State(time: SteadyTime(wall: EventLoop.realtimeMicroseconds(), elapsed: SystemClock.elapsed())))
    }

    private static func elapsed() -> Int64 { Int64(EventLoop.monotonicNow() / 1_000) }

    public func now() -> Timestamp {
        Timestamp(microseconds: state.withLock { $0.time.now(wall: $0.wall, elapsed: SystemClock.elapsed()) })
    }

    public func observe(_ moment: Timestamp) { state.withLock { $0.time.observe(moment.microseconds) } }

    public func calibrate(_ store: Timestamp, roundTrip: Timestamp.Span) {
        state.withLock { state in
            guard state.offset == nil || roundTrip <= SystemClock.longestRoundTrip else { return }
            let isFirst = state.offset == nil
            // The first answer is taken however long it took, and then its moment may have been the last one of that time. An
            // instance whose clock is ahead of the store's pulls all replicas along; one that is behind catches up.
            let way = min(roundTrip, SystemClock.longestRoundTrip).microseconds / 2
            state.offset = store.microseconds + way - EventLoop.realtimeMicroseconds()
            // Nothing has been timed by the machine's own yet.
            if isFirst { state.time = SteadyTime(wall: state.wall, elapsed: SystemClock.elapsed()) }
        }
    }

    /// The time of day at a moment of queues' time: what is signed is read by other people's clocks.
    func timeOfDay(_ moment: Timestamp) -> Timestamp {
        Timestamp(microseconds: moment.microseconds + state.withLock { $0.wall } - now().microseconds)
    }

    public func wake(at moment: Timestamp, _ body: @escaping @Sendable () -> Void) {
        loop.execute { [self] in
            let wait = max(0, (moment - now()).microseconds)
            // Time may run slower than the loop's for a while, and then this is asked for once more.
            loop.schedule(after: UInt64(min(wait, 60_000_000)) * 1_000, body)
        }
    }
}
