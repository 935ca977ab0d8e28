/// How many messages came in the current second.
struct MessageRate {
    private var second: UInt32 = 0
    private var used: UInt16 = 0

    /// Counts one more; false where this second has had its share.
    mutating func take(at now: UInt32, perSecond share: Int) -> Bool {
        if now != second {
            second = now
            used = 0
        }
        used &+= 1
        return Int(used) <= share
    }
}
