import EventLoop
import QueueEngine

/// The engine alone: the index of a million, rank, k-th waiting, events applied.
enum EngineBench {
    static func run() {
        var set = TicketSet()
        for number in 1...1_000_000 as ClosedRange<UInt64> { set.insert(number) }
        // A line that people have left: every third is gone.
        var thinned = set
        for number in stride(from: UInt64(3), through: 1_000_000, by: 3) { thinned.remove(number) }
        let probes = (0..<1_000_000).map { _ in UInt64.random(in: 1...1_000_000) }
        let places = (0..<1_000_000).map { _ in Int.random(in: 0..<thinned.count) }
        var sum = 0
        let rank = nanoseconds { for probe in probes { sum &+= thinned.rank(probe) } }
        let select = nanoseconds { for place in places { sum &+= Int(thinned.select(place)!) } }
        let (events, applied) = apply()
        Bench.report([
            "indexBytes": Double(set.storageBytes), "rankNanoseconds": rank / 1e6, "selectNanoseconds": select / 1e6,
            "eventsPerSecond": Double(events) / (applied / 1e9), "sum": Double(sum & 1),
        ])
    }

    /// A day of a queue: joins, absences, admissions, completions, as its replicas see them.
    private static func apply() -> (Int, Double) {
        var state = QueueState()
        var log: [QueueEvent] = []
        var now = Timestamp(seconds: 1_700_000_000)
        try! state.configure(
            QueueConfiguration(maxConcurrentUsers: 5_000, releaseRatePerMinute: 600_000, admissionTTLSeconds: 3_600), at: now, &log)
        for step in 0..<4_000 {
            now = now + .milliseconds(20)
            for _ in 0..<210 { _ = try? state.join(lane: 0, at: now, &log) }
            if step % 10 == 0, let first = state.waiting(lane: 0, at: 40) { state.disconnect([first], at: now, &log) }
            state.advance(to: now, &log)
            for ticket in state.admitted.keys.prefix(200) { try? state.complete(ticket, at: now, &log) }
        }
        var replica = QueueState()
        let took = nanoseconds { for event in log { replica.apply(event) } }
        precondition(replica == state)
        return (log.count, took)
    }

    private static func nanoseconds(_ body: () -> Void) -> Double {
        let began = EventLoop.monotonicNow()
        body()
        return Double(EventLoop.monotonicNow() - began)
    }
}
