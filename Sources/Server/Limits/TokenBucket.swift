/// How often something may happen: `perSecond` in the long run, and `burst` at once.
public struct Rate: Sendable, Hashable {
    public let perSecond: Double
    public let burst: Double

    public init(perSecond: Double, burst: Double) {
        self.perSecond = perSecond
        self.burst = burst
    }

    /// Milliseconds that one costs, and that a full bucket holds.
    fileprivate var interval: Double { 1_000 / perSecond }
    fileprivate var capacity: Double { max(1, burst) * interval }
}

/// A token bucket in one number, with nothing to refill: the millisecond at which it will be full again (the generic
/// cell rate algorithm, ITU-T I.371 annex A).
struct TokenBucket {
    /// 0: never used.
    private var fullAt: UInt32 = 0

    /// Takes `cost` tokens; false where there are not as many, and none is taken.
    ///
    /// - Parameter now: milliseconds of a clock that only goes forward and may wrap.
    mutating func take(_ cost: Int = 1, at now: UInt32, _ rate: Rate) -> Bool {
        let ahead = missing(at: now, rate)
        let after = ahead + max(1, Double(cost) * rate.interval)
        guard after <= rate.capacity + 0.5 else { return false }
        fullAt = max(1, now &+ UInt32(after))
        return true
    }

    func isFull(at now: UInt32, _ rate: Rate) -> Bool { missing(at: now, rate) == 0 }

    /// What is missing, in milliseconds. More than there could be is a number that the clock has lapped.
    private func missing(at now: UInt32, _ rate: Rate) -> Double {
        guard fullAt != 0 else { return 0 }
        let ahead = Double(Int32(bitPattern: fullAt &- now))
        return ahead > 0 && ahead <= rate.capacity + 1 ? ahead : 0
    }
}
