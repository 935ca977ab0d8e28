import EventLoop
import Locks
import Metrics
import QueueEngine
import QueueService
import Telemetry

/// What is read off the server when somebody asks for it, rather than counted as it happens.
extension ServerCore {
    /// All that is measured, as Prometheus reads it.
    ///
    /// - Parameter tenant: whose queues have their own figures in it; nil: nobody's.
    func measured(queuesOf tenant: TenantID?) async -> String {
        // Files are read for it, so not on the loop that was asked.
        await Task.detached { [self] in
            await measure()
            let own = await service.snapshots.filter { $0.record.tenant == tenant }
            let queues = PrometheusRegistry()
            QueueFigures(own, limit: settings.metricsQueues).write(to: queues)
            return measurements.registry.text() + queues.text()
        }.value
    }

    private func measure() async {
        let load = store.takeLoad()
        let longest = noteLongest(load)
        measurements.storeConnections.set(load.connections)
        measurements.storeConnectionsBusy.set(load.busy)
        measurements.storeRequestsWaiting.set(load.waiting)
        measurements.storeWaitMaxSeconds.set(longest.wait)
        measurements.longestTurnSeconds.set(longest.turn)
        measurements.registry.set(
            "stanchion_store_deadlocks_total", .counter, "Transactions that stood in each other's way and were ended for it.",
            Double(load.deadlocks))
        measurements.instances.set(await service.instanceCount)
        measurements.replicaLagEvents.set(await service.lags.values.max() ?? 0)
        measurements.openConnections.set(limits.connectionCount)
        measurements.registry.set(
            "stanchion_limit_entries", .gauge, "Addresses and queues of which something is counted against a limit.",
            [([("of", "address")], Double(limits.addressCount)), ([("of", "queue")], Double(limits.queueCount))])
        measureState(isStoreAway: await service.outage != nil, staleQueues: await service.staleQueueCount)
        measureLoops()
        measurements.registry.readProcess()
    }

    private func measureState(isStoreAway: Bool, staleQueues: Int) {
        func set(_ name: String, _ help: String, _ value: Double) { measurements.registry.set("stanchion_\(name)", .gauge, help, value) }
        set("store_down", "1 while the store cannot be written, and everybody is shown what was true before.", isStoreAway ? 1 : 0)
        set("queues_stale", "Queues whose changes the store refuses, or that cannot be read.", Double(staleQueues))
        set("bus_down", "1 while a bus is set and carries nothing: events come by the second.", service.bus.health.isDown ? 1 : 0)
        set("processors", "Processors that the process may use.", Machine.processors)
        if networkBytesPerSecond > 0 { set("network_bytes_per_second", "What the network could carry in a second.", networkBytesPerSecond) }
        let (disk, peak) = record.withLock { ($0.disk, [$0.poolPeak, $0.lastPoolPeak].compactMap { $0 }.max()) }
        if let disk { set("store_bytes", "What the store takes of its disk, as of the last minute.", disk.bytes) }
        if let share = disk?.usedShare { set("disk_used_ratio", "How full the store's disk is, 0 to 1, as of the last minute.", share) }
        if let peak {
            set(
                "store_connections_peak_ratio",
                "Connections to the store in use in the busiest quarter of a second of the last ten to twenty.", peak)
        }
        if let (used, limit) = memory.figures() {
            set("memory_used_bytes", "Memory in use, of the control group that has a limit or of the machine.", Double(used))
            set("memory_limit_bytes", "Memory that there is, likewise.", Double(limit))
        }
    }

    private func measureLoops() {
        let loops = loops.withLock { $0.map(\.loop) }
        func set(_ name: String, _ help: String, _ value: (LoopFigures) -> Double) {
            measurements.registry.set(name, .counter, help, loops.map { (labels: [("loop", "\($0.index)")], value: value($0.figures)) })
        }
        set("stanchion_loop_busy_seconds_total", "Time that a loop did not wait for something to do.") {
            Double($0.busyNanoseconds.now) / 1e9
        }
        set("stanchion_network_received_bytes_total", "Bytes that came from clients, TLS not counted.") { Double($0.bytesReceived.now) }
        set("stanchion_network_sent_bytes_total", "Bytes that went to clients, TLS not counted.") { Double($0.bytesSent.now) }
    }
}

/// The queues' own figures: of so many queues, by their slugs, and of all others together.
private struct QueueFigures {
    private typealias Series = (labels: [(String, String)], value: Double)

    /// By the label's value.
    private let groups: [(name: String, queues: [QueueSnapshot])]

    /// - Parameter limit: those that were made first, so that a queue does not move in and out of the others.
    init(_ snapshots: [QueueSnapshot], limit: Int) {
        let sorted = snapshots.sorted { $0.record.id < $1.record.id }
        let others = Array(sorted.dropFirst(limit))
        // No slug has a dot in it.
        groups = sorted.prefix(limit).map { ($0.record.slug, [$0]) } + (others.isEmpty ? [] : [(".others", others)])
    }

    func write(to registry: PrometheusRegistry) {
        func set(_ name: String, _ kind: PrometheusRegistry.Kind, _ help: String, _ value: (QueueState) -> Double) {
            registry.set(
                "stanchion_queue_\(name)", kind, help,
                groups.map { group in
                    (labels: [("queue", group.name)], value: group.queues.reduce(0) { $0 + value($1.state) })
                })
        }
        set("waiting", .gauge, "Places in line, those of people out of sight among them.") { Double($0.waitingCount) }
        set("admitted", .gauge, "People who are let in and have neither completed, left nor expired.") { Double($0.admitted.count) }
        set("joins_total", .counter, "Places that were given out since the queue was made.") { Double($0.joinedCount) }
        set("events_total", .counter, "Events in the queue's log since it was made.") { Double($0.head) }
    }
}
