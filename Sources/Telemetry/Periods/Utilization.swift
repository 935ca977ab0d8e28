/// How much of something is in use, as the mean over the busiest quarter of a second: short enough that a second without
/// a free connection shows, long enough that a burst of a millisecond does not.
public struct Utilization: Sendable {
    private static let window: UInt64 = 250_000_000

    private var inUse = 0
    private var changedAt: UInt64 = 0
    private var windowEnd: UInt64 = 0
    /// Units in use × nanoseconds within the present window.
    private var used = 0.0
    private var busiest = 0.0

    public init() {}

    /// So many units are in use from `now` on.
    ///
    /// - Parameter now: nanoseconds of the monotonic clock.
    public mutating func change(to inUse: Int, at now: UInt64) {
        advance(to: now)
        self.inUse = inUse
    }

    /// Units in use in the busiest window since the last call; windows that have not ended are counted when they have.
    public mutating func takePeak(at now: UInt64) -> Double {
        advance(to: now)
        defer { busiest = 0 }
        return busiest
    }

    private mutating func advance(to now: UInt64) {
        guard now > changedAt else { return }
        if now >= windowEnd {
            if windowEnd > changedAt {
                used += Double(inUse) * Double(windowEnd - changedAt)
                busiest = max(busiest, used / Double(Utilization.window))
            }
            // Whole windows between, in all of which as much was in use.
            if now - windowEnd >= Utilization.window, windowEnd > 0 { busiest = max(busiest, Double(inUse)) }
            let start = now - now % Utilization.window
            (used, windowEnd) = (Double(inUse) * Double(now - max(start, changedAt)), start + Utilization.window)
        } else {
            used += Double(inUse) * Double(now - changedAt)
        }
        changedAt = now
    }
}
