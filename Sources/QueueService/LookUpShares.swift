/// On whose behalf a queue is looked for that may not exist.
enum LookUpCaller: Hashable {
    case address(UInt64)
    case tenant(TenantID)

    /// Look-ups under way at once.
    var share: Int {
        switch self {
        case .address: 8
        case .tenant: 32
        }
    }
}

/// The look-ups under way, by the caller who caused them: who makes names up uses up no share but its own.
struct LookUpShares {
    private var counts: [LookUpCaller: Int] = [:]

    var isEmpty: Bool { counts.isEmpty }

    /// Whether one more may begin; always where the caller is nobody in particular.
    func hasRoom(for caller: LookUpCaller?) -> Bool { caller.map { counts[$0, default: 0] < $0.share } ?? true }

    mutating func begin(_ caller: LookUpCaller?) {
        if let caller { counts[caller, default: 0] += 1 }
    }

    mutating func end(_ caller: LookUpCaller?) {
        guard let caller, let count = counts[caller] else { return }
        counts[caller] = count > 1 ? count - 1 : nil
    }
}
