import QueueService

/// Over how long those who are sent away come back, so that whoever takes them in is not flooded.
struct DrainPlan {
    /// Seconds before the first one comes: the load balancer has to notice, too.
    static let pause = 0.5

    let seconds: Double

    /// - Parameters:
    ///   - others: what each of the instances that stay can take in. Whatever deals the visitors among them deals evenly
    ///     at best, so the weakest sets the pace. Where there are none, they come back to whatever is started next.
    ///   - longest: not longer than this, in seconds, however little the others can take.
    init(visitors: Int, others: [Capacity], longest: Double) {
        let able = others.filter { $0.room > 0 }
        let pace = (able.map(\.arrivalsPerSecond).min() ?? 0) * able.count
        seconds = pace > 0 ? min(longest, Double(visitors) / Double(pace)) : longest
    }

    /// When the one at `index` of `count` comes: in turn, and not in step with those of another queue or loop.
    func moment(of index: Int, among count: Int, random: Double) -> Double {
        DrainPlan.pause + seconds * (Double(index) + random) / Double(max(1, count))
    }
}
