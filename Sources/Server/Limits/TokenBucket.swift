/// How often something may happen: `perSecond` in the long run, and `burst` at once.
public struct Rate: Sendable, Hashable {
    public let perSecond: Double
    public let burst: Double

    public init(perSecond: Double, burst: Double) {
        self.perSecond = perSecond
        self.burst = burst
    }
}

/// A token bucket in eight bytes: what is missing in it, and when that was counted. It is made full.
struct TokenBucket {
    private var missing: Float = 0
    private var countedAt: UInt32 = 0

    /// Takes `cost` tokens; false where there are not as many, and none is taken.
    ///
    /// - Parameter now: milliseconds of a clock that only goes forward and may wrap.
    mutating func take(_ cost: Int = 1, at now: UInt32, _ rate: Rate) -> Bool {
        let after = missing(at: now, rate) + Float(cost)
        guard after <= Float(max(1, rate.burst)) else { return false }
        missing = after
        countedAt = now
        return true
    }

    func isFull(at now: UInt32, _ rate: Rate) -> Bool { missing(at: now, rate) == 0 }

    private func missing(at now: UInt32, _ rate: Rate) -> Float {
        guard missing > 0 else { return 0 }
        // Two threads may count in another order than they looked at the clock; much more is a number that it has lapped.
        let passed = Int32(bitPattern: now &- countedAt)
        if passed < -60_000 { return 0 }
        return max(0, missing - Float(Double(max(0, passed)) * rate.perSecond / 1_000))
    }
}
