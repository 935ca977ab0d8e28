/// Queues' time, in microseconds since 1970: the time of day, as long as that moves as time does.
///
/// A clock that is set forward is believed once it has stayed so for ten seconds: a jump there and back moves nothing.
/// One that is set back is never followed backwards; time goes on at nine tenths of its pace until the clock has caught
/// up. So a queue never stands still, and its log's time never goes backwards.
struct SteadyTime {
    private var last: Int64
    private var lastElapsed: Int64
    private var aheadSince: Int64?

    /// Differences up to this are those of a clock that is being adjusted.
    private static let tolerance: Int64 = 1_000_000
    private static let patience: Int64 = 10_000_000

    init(wall: Int64, elapsed: Int64) {
        last = wall
        lastElapsed = elapsed
    }

    /// - Parameters:
    ///   - wall: the time of day, which may jump.
    ///   - elapsed: the time since some moment, which does not.
    mutating func now(wall: Int64, elapsed: Int64) -> Int64 {
        let passed = max(0, elapsed - lastElapsed)
        let difference = wall - (last + passed)
        var next = last + passed
        if difference < -SteadyTime.tolerance {
            aheadSince = nil
            next = last + passed * 9 / 10
            if next == last { return last }
        } else if difference > SteadyTime.tolerance {
            aheadSince = aheadSince ?? elapsed
            if elapsed - aheadSince! >= SteadyTime.patience { next = wall }
        } else {
            aheadSince = nil
            next = max(last, wall)
        }
        last = next
        lastElapsed = max(elapsed, lastElapsed)
        return last
    }

    /// A log is further on than this: another instance, or this one before it was started anew, had another clock.
    mutating func observe(_ moment: Int64) { last = max(last, moment) }
}
