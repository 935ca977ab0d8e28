/// What has moved lately: admissions, departures of people who waited, and places that became free, in buckets of
/// 5 seconds over 10 minutes. Buckets are aligned to the clock, so two replicas that saw the same events are equal.
struct DrainMeter: Sendable, Equatable {
    enum Kind: Int, Sendable, CaseIterable { case admission, departure, turnover }

    static let bucketSeconds: Int64 = 5
    static let buckets: Int64 = 120

    private struct Bucket: Sendable, Equatable {
        let start: Int64
        var counts = InlineCounts()
    }

    private struct InlineCounts: Sendable, Equatable {
        var admission: UInt32 = 0
        var departure: UInt32 = 0
        var turnover: UInt32 = 0

        subscript(kind: Kind) -> UInt32 {
            get {
                switch kind {
                case .admission: admission
                case .departure: departure
                case .turnover: turnover
                }
            }
            set {
                switch kind {
                case .admission: admission = newValue
                case .departure: departure = newValue
                case .turnover: turnover = newValue
                }
            }
        }
    }

    private var ring: [Bucket] = []

    private static func bucket(_ moment: Timestamp) -> Int64 { moment.microseconds / (bucketSeconds * 1_000_000) }

    mutating func count(_ kind: Kind, _ amount: Int = 1, at moment: Timestamp) {
        let start = DrainMeter.bucket(moment)
        guard let last = ring.last, last.start >= start else {
            ring.append(Bucket(start: start))
            if let oldest = ring.first, oldest.start <= start - 2 * DrainMeter.buckets {
                ring.removeAll { $0.start <= start - DrainMeter.buckets }
            }
            ring[ring.count - 1].counts[kind] += UInt32(amount)
            return
        }
        // Rebuilding counts what was stored in any order; living appends at the end.
        if let index = ring.lastIndex(where: { $0.start == start }) {
            ring[index].counts[kind] += UInt32(amount)
        } else {
            let index = ring.firstIndex { $0.start > start } ?? ring.count
            ring.insert(Bucket(start: start), at: index)
            ring[index].counts[kind] += UInt32(amount)
        }
    }

    /// How many there were in the last `seconds` before `now`, and over how many seconds that was really counted.
    ///
    /// - Parameter since: when the queue was made. Of a younger one than the window only its own time counts; it is the same at
    ///   every replica, whatever part of the past that one has seen.
    func total(_ kind: Kind, last seconds: Int64, at now: Timestamp, since: Timestamp) -> (count: Int, seconds: Double) {
        let first = DrainMeter.bucket(now) - seconds / DrainMeter.bucketSeconds
        let counted = ring.lazy.filter { $0.start > first }.reduce(0) { $0 + Int($1.counts[kind]) }
        let start = max(first + 1, DrainMeter.bucket(since))
        return (counted, max(now.seconds - Double(start * DrainMeter.bucketSeconds), Double(DrainMeter.bucketSeconds)))
    }

    /// The buckets that still count at `now`: what two meters are compared by.
    func current(at now: Timestamp) -> DrainMeter {
        var meter = self
        meter.ring.removeAll { $0.start <= DrainMeter.bucket(now) - DrainMeter.buckets }
        return meter
    }
}
