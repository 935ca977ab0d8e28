import QueueEngine

/// Whether lanes get their shares: of any 100 admissions in a row during which the same lanes had people present, each
/// lane got its share, within two.
struct LaneFairness {
    private var shares: [Double] = []
    /// The lanes of the last admissions, from the last change of conditions on.
    private var history: [Int] = []
    private var start = 0
    private var counts: [Int] = []
    private var presentLanes: [Bool] = []

    static let window = 100
    static let tolerance = 2.0

    mutating func restart(_ configuration: QueueConfiguration) {
        let lanes = configuration.priorityLanes
        let shared = lanes.filter { $0.sharePercent < 100 }.reduce(0) { $0 + $1.sharePercent }
        // A strict lane has no share: it goes first.
        shares = [Double(max(1, 100 - shared))] + lanes.map { $0.sharePercent < 100 ? Double($0.sharePercent) : 0 }
        clear()
    }

    private mutating func clear() {
        history = []
        start = 0
        counts = Array(repeating: 0, count: shares.count)
    }

    /// An admission out of `lane`, when so many were present in each. Says what is wrong.
    mutating func admitted(_ lane: Int, present: [Int]) -> String? {
        guard lane < shares.count, shares[lane] > 0 else { return nil }
        let lanes = shares.indices.map { shares[$0] > 0 && $0 < present.count && present[$0] > 0 }
        if lanes != presentLanes {
            presentLanes = lanes
            clear()
        }
        if let strict = shares.indices.first(where: { shares[$0] == 0 && $0 < present.count && present[$0] > 0 }) {
            return "lane \(lane) was served while somebody was present in the strict lane \(strict)"
        }
        history.append(lane)
        counts[lane] += 1
        if history.count - start > LaneFairness.window {
            counts[history[start]] -= 1
            start += 1
            if start > 4 * LaneFairness.window {
                history.removeFirst(start)
                start = 0
            }
        }
        return history.count - start == LaneFairness.window ? unfair() : nil
    }

    private func unfair() -> String? {
        let sum = shares.indices.reduce(0) { presentLanes[$1] ? $0 + shares[$1] : $0 }
        for lane in shares.indices where presentLanes[lane] {
            let expected = 100 * shares[lane] / sum
            if abs(Double(counts[lane]) - expected) > LaneFairness.tolerance {
                return "lane \(lane) got \(counts[lane]) of 100 admissions and should have got \(Int(expected.rounded()))"
            }
        }
        return nil
    }
}
