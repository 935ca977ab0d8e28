public import Metrics

/// What is measured of the queues, by the instance that decided it: over all instances everything is counted once.
public struct QueueMeasurements: Sendable {
    private let commands: [CommandOutcome: Counter]
    private let events: [EventKind: Counter]
    private let cacheReads: [CacheLevel: Counter]
    /// From the moment that somebody could have been admitted to the admission's place in the log, outages included.
    public let releaseLagSeconds: Metrics.Timer
    /// Ticks of a queue that was due in which nothing happened: each is a fault of the program.
    public let idleTicks: Counter

    public init(registry: PrometheusRegistry = PrometheusRegistry()) {
        commands = registry.counters("stanchion_commands_total", "What was asked of queues, by what became of it.", "outcome")
        events = registry.counters("stanchion_events_total", "Events that this instance has committed.", "type")
        cacheReads = registry.counters("stanchion_cache_reads_total", "Pages of logs and mean waits, by where they were found.", "level")
        releaseLagSeconds = registry.timer(
            "stanchion_release_lag_seconds", "From the moment that somebody could have been admitted to the place in the log.")
        idleTicks = registry.counter("stanchion_idle_ticks_total", "Times that a queue was due and nothing happened in it.")
    }

    public func became(_ outcome: CommandOutcome) { commands[outcome]!.increment() }
    public func committed(_ kind: EventKind) { events[kind]!.increment() }
    public func read(from level: CacheLevel) { cacheReads[level]!.increment() }
}

/// What became of something that was asked of a queue.
public enum CommandOutcome: String, CaseIterable, Sendable {
    case done
    /// For a reason of the queue's: it is closed, the person has a place.
    case refused
    /// For want of the store.
    case failed
}

/// What happens in a queue, and of expiries why.
public enum EventKind: String, CaseIterable, Sendable {
    case configured, opened, paused, resumed, closed, announced
    case joined, connected, disconnected, admitted, completed, left
    /// Was out of sight for longer than the grace period.
    case lost
    /// Was let in and did not come.
    case noShow = "no_show"
    case removed
}

/// Where something was found that is looked for in a cache first.
public enum CacheLevel: String, CaseIterable, Sendable { case memory, shared, store }
