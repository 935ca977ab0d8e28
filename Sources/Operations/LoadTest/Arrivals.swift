import EventLoop
import Glibc

/// Moments of things that happen independently of each other, so many a second in the mean (a Poisson process).
struct RandomMoments {
    /// A second, after so many seconds. May change, slowly against a second.
    let rate: (Double) -> Double
    private(set) var seconds = 0.0

    init(perSecond rate: @escaping (Double) -> Double) { self.rate = rate }

    /// Goes on to the next moment, by a second at most: what may come at any moment is no nearer for having been waited for.
    ///
    /// - Returns: whether something happens then.
    mutating func advance(_ random: inout some RandomNumberGenerator) -> Bool {
        let rate = rate(seconds)
        let gap = rate > 0 ? RandomMoments.exponential(mean: 1 / rate, &random) : .infinity
        seconds += min(gap, 1)
        return gap <= 1
    }

    /// A random span: of those whose mean is `mean`, as long as waiting for what may come at any moment.
    static func exponential(mean: Double, _ random: inout some RandomNumberGenerator) -> Double {
        -log1p(-Double.random(in: 0..<1, using: &random)) * mean
    }
}

/// Lets things happen on a loop at random moments which nobody's slowness moves: each is planned from the moment of the
/// last, not from when that was answered, so that a slow server is asked as much as a quick one.
final class Arrivals {
    private let loop: EventLoop
    private let arrive: (UInt64) -> Void
    private let began = EventLoop.monotonicNow()
    private var moments: RandomMoments
    private var happens = false
    private var random = SystemRandomNumberGenerator()
    private var isStopped = false

    /// - Parameter arrive: told the moment that was planned, on the monotonic clock.
    init(on loop: EventLoop, perSecond rate: @escaping (Double) -> Double, _ arrive: @escaping (UInt64) -> Void) {
        self.loop = loop
        self.arrive = arrive
        moments = RandomMoments(perSecond: rate)
        plan()
    }

    func stop() { isStopped = true }

    private var next: UInt64 { began + UInt64(moments.seconds * 1e9) }

    private func plan() {
        // All that is due by now, each with its own moment.
        while !isStopped, next <= EventLoop.monotonicNow() {
            if happens { arrive(next) }
            happens = moments.advance(&random)
        }
        guard !isStopped else { return }
        loop.schedule(at: next) { [weak self] in self?.plan() }
    }
}

extension EventLoop {
    /// Runs `action` at a moment on the monotonic clock, or soon where that has passed. To be called on the loop.
    func schedule(at moment: UInt64, _ action: @escaping () -> Void) { schedule(after: moment > now ? moment - now : 0, action) }
}
