import QueueEngine
import QueueService
import Telemetry

/// How much there is of everything in the night after a month, when nobody is there.
struct MonthEnd {
    /// Who came, and what happened, since the world began.
    private let people: Int
    private let events: Int
    /// Rows in each table of the store, but for those that are all deleted by age: how old the oldest is is looked at every night
    /// (`checkRetention`), and some days of a month bring more than others.
    private let tables: [String: Int]
    /// Elements in each collection of a process, where it has most of them.
    private let collections: [String: Int]

    init(_ world: World) {
        (people, events) = (world.tally.joined, world.tally.events)
        let byAge: Set = ["ended sessions", "receipts"]
        tables = world.database.transaction { state, _ in state.counts.filter { !byAge.contains($0.key) } }
        var collections: [String: Int] = [:]
        for process in world.processes.compactMap(\.self) where process.isServing {
            for (path, count) in world.sizes.of(process.service) where !path.hasPrefix("memory") {
                collections[path] = max(count, collections[path] ?? 0)
            }
            let lines = process.registry.text().utf8.count { $0 == UInt8(ascii: "\n") }
            collections["lines of metrics"] = max(lines, collections["lines of metrics"] ?? 0)
        }
        self.collections = collections
    }

    /// What has grown with time since `first`, the end of the first month, and not with people.
    func growth(since first: MonthEnd) -> [String] {
        let more = 2 * max(1, ratio(people, first.people), ratio(events, first.events))
        // The first month may have ended quietly, with none of a table's rows. A busy day leaves some for each who came, and all its
        // events.
        return grown(tables, first.tables, allowing: more) { $0 == "entries of logs" ? events / 2 : people / 200 }
            + grown(collections, first.collections, allowing: 1) { _ in 0 }
    }

    /// Both count from the beginning, so what is never deleted may grow as they do.
    private func ratio(_ now: Int, _ before: Int) -> Double { Double(now) / Double(max(1, before)) }

    private func grown(_ now: [String: Int], _ before: [String: Int], allowing more: Double, plus few: (String) -> Int) -> [String] {
        now.sorted { $0.key < $1.key }.compactMap { name, count in
            let first = before[name] ?? 0
            let bound = 1.1 * more * Double(first) + Double(32 + few(name))
            return Double(count) > bound ? "\(name) has \(count) after a later month, and had \(first) after the first" : nil
        }
    }
}

/// What was spent until some moment of a night, to compare with what is spent until the morning.
struct QuietTime {
    private let since: Timestamp
    private let tally: World.Tally
    private let jobs: Int
    private let wakes: [InstanceID: Int]

    init(_ world: World) {
        (since, tally, jobs, wakes) = (world.scheduler.now, world.tally, world.scheduler.jobsRun, QuietTime.wakes(world))
    }

    private static func wakes(_ world: World) -> [InstanceID: Int] {
        Dictionary(uniqueKeysWithValues: world.processes.compactMap(\.self).map { ($0.service.instance, $0.clock.wakes) })
    }

    /// In quiet time each process sends its heartbeats, each with a look for queues that wake, and one of them deletes what
    /// has expired, once a minute and as long as there is more. A queue that opens or closes by itself is loaded for that,
    /// by every process, and rests again. Nothing else happens.
    func check(_ world: World) {
        let hours = (world.scheduler.now - since).seconds / 3_600
        let beats = Double(world.options.instances) * hours * 3_600 / (world.options.lease.seconds / 10)
        let minutes = 61 * hours
        let deletions = Double((world.tally.calls[.retention] ?? 0) - (tally.calls[.retention] ?? 0))
        let planned = Double(world.tally.planned - tally.planned)
        if deletions > 8 * minutes + 200 * Double(world.queues.count) {
            world.report(.cost, "\(Int(deletions)) deletions in \(hours) quiet hours")
        }
        let events = Double(world.tally.events - tally.events)
        if events > planned { world.report(.cost, "\(events) events in quiet hours, \(planned) of them planned") }
        let calls = Double(world.tally.storeCalls - tally.storeCalls) - deletions
        let own = 16 * planned * Double(world.options.instances)
        if calls > 2.02 * beats + 10 + own {
            world.report(.cost, "\(Int(calls)) calls to the store in quiet hours; \(Int(beats)) heartbeats: \(world.callsSince(tally))")
        }
        let woken = Double(QuietTime.wakes(world).reduce(0) { $0 + $1.value - (wakes[$1.key] ?? 0) })
        if woken > 1.02 * beats + Double(world.options.instances) * minutes + deletions + 10 + own {
            world.report(.cost, "\(Int(woken)) wake-ups in quiet hours; \(Int(beats)) heartbeats")
        }
        let ran = Double(world.scheduler.jobsRun - jobs)
        if ran > 40 * (beats + deletions + Double(world.options.instances) * minutes + own) + 200 {
            world.report(.cost, "\(Int(ran)) jobs in quiet hours; \(Int(beats)) heartbeats")
        }
    }
}
