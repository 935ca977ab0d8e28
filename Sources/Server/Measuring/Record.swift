import EventLoop
import Locks
import Logging
import QueueEngine
import QueueService
import Telemetry

/// What this server remembers of its own doing.
struct Record: Sendable {
    var history = History(elapsed: Record.elapsed)
    var longestTurn = Longest()
    var longestWait = Longest()
    /// The share of the store's connections that was in use at the busiest moment of the present period.
    var poolPeak: Double?
    /// The same of the period before, for those who look early in a new one.
    var lastPoolPeak: Double?
    /// What the store takes of its disk, asked for once a minute.
    var disk: DiskUse?
    /// Of all instances, as of the last time that the store was told and asked.
    var budget: ErrorBudget?

    private static let began = EventLoop.monotonicNow()
    /// Seconds on a clock that runs evenly, from about the start: so what is counted by it begins with nothing.
    static var elapsed: Double {
        let began = began  // Set at the first look, and so before the next line's.
        return Double(EventLoop.monotonicNow() - began) / 1e9
    }
}

/// Every ten seconds a period ends; every minute the store is told of the present hour, and asked for the month's errors.
extension ServerCore {
    /// Until the task is cancelled.
    func keepRecord() async {
        await askStore()
        await askForDisk()
        for step in 1... {
            try? await Task.sleep(for: .seconds(History.step))
            guard !Task.isCancelled else { break }
            await endPeriod()
            guard step % 6 == 0, await tellStore() else { continue }
            await askStore()
            await askForDisk()
        }
        // By a task that is not cancelled: a store may give up what is asked by one that is.
        await Task.detached { [self] in
            await endPeriod()
            _ = await tellStore()
        }.value
    }

    private func endPeriod() async {
        // Taken once: each look takes the longest wait with it.
        let load = store.takeLoad()
        _ = noteLongest(load)
        let (counts, levels) = (readCounts(load), await readLevels(load))
        let now = clock.timeOfDay(clock.now()).seconds
        record.withLock { record in
            record.history.note(counts, levels, elapsed: Record.elapsed, now: now)
            (record.lastPoolPeak, record.poolPeak) = (record.poolPeak, nil)
            record.longestTurn.step()
            record.longestWait.step()
        }
    }

    /// False where it does not know it now: it is told again in a minute.
    private func tellStore() async -> Bool {
        guard await service.outage == nil else { return false }
        let hours = record.withLock { $0.history.unstored }
        do throws(StoreError) {
            try await store.keep(
                hours.map { StoredHour(number: $0.number, period: $0.period) }, of: service.instance,
                since: presentHour - 24 * settings.trendDays)
            record.withLock { $0.history.stored(hours) }
            return true
        } catch {
            log.info("the store was not told of this hour", metadata: ["error": "\(error)"])
            return false
        }
    }

    private func askStore() async {
        guard let (all, failed) = try? await store.requests(since: presentHour - 24 * ErrorBudget.days) else { return }
        record.withLock { $0.budget = ErrorBudget(requests: all, failed: failed) }
    }

    private func askForDisk() async {
        guard let found = try? await store.diskUse() else { return }
        let whole = Double(settings.databaseGigabytes) * 1e9
        let share = found.usedShare ?? (whole > 0 ? found.bytes / whole : nil)
        record.withLock { $0.disk = DiskUse(bytes: found.bytes, usedShare: share) }
    }

    /// Hours since 1970.
    var presentHour: Int { Int(clock.timeOfDay(clock.now()).seconds / 3_600) }

    /// Takes what was longest since the last look, whoever looks, and says what was longest lately.
    func noteLongest(_ load: StoreLoad) -> (turn: Double, wait: Double) {
        let turn = loops.withLock { $0.map { $0.loop.figures.takeLongestTurn() }.max() ?? 0 }
        return record.withLock { record in
            record.longestTurn.note(Double(turn) / 1e9)
            record.longestWait.note(load.longestWaitSeconds)
            if load.limit > 0 { record.poolPeak = max(record.poolPeak ?? 0, load.peakBusy / Double(load.limit)) }
            return (record.longestTurn.value, record.longestWait.value)
        }
    }

    /// What the network could carry in a second; 0 where neither a setting nor an interface says it.
    var networkBytesPerSecond: Double {
        settings.networkMegabits > 0 ? Double(settings.networkMegabits) * 1e6 / 8 : Machine.networkBytesPerSecond
    }

    // MARK: What is read off

    private func readCounts(_ load: StoreLoad) -> Counts {
        let registry = measurements.registry
        var counts = Counts()
        counts.requests = registry.distribution(of: "stanchion_http_request_duration_seconds")
        counts.failedRequests = registry.count(of: "stanchion_http_requests_total", where: ("class", "5xx"))
        counts.statements = registry.distribution(of: "stanchion_store_operation_duration_seconds")
        counts.deadlocks = Int64(load.deadlocks)
        counts.commands = registry.count(of: "stanchion_commands_total")
        counts.failedCommands = registry.count(of: "stanchion_commands_total", where: ("outcome", CommandOutcome.failed.rawValue))
        counts.joins = registry.count(of: "stanchion_joins_total")
        counts.releases = registry.distribution(of: "stanchion_release_lag_seconds")
        counts.admissions = registry.distribution(of: "stanchion_admission_delay_seconds")
        (counts.admitted, counts.waitedSeconds) = registry.totals(of: "stanchion_visitor_wait_seconds")
        counts.processorSeconds = Double(EventLoop.processTime()) / 1e9
        counts.machineSeconds = Record.elapsed * Machine.processors
        counts.networkBytes = loops.withLock { loops in
            loops.reduce(0) { $0 + Double($1.loop.figures.bytesReceived.now + $1.loop.figures.bytesSent.now) }
        }
        counts.networkRoom = Record.elapsed * networkBytesPerSecond
        return counts
    }

    private func readLevels(_ load: StoreLoad) async -> Levels {
        var levels = Levels()
        let queues = await service.snapshots
        levels.connections = Double(limits.connectionCount)
        // In a closed queue nobody waits, and nobody will.
        levels.queues = Double(queues.count { $0.state.status != .closed })
        levels.waiting = queues.reduce(0) { $0 + Double($1.state.waitingCount) }
        levels.inside = queues.reduce(0) { $0 + Double($1.state.admitted.count) }
        let (pool, disk) = record.withLock { ($0.poolPeak, $0.disk) }
        levels.pool = pool
        levels.memory = memory.figures().map { Double($0.used) / Double($0.limit) }
        (levels.disk, levels.storeBytes) = (disk?.usedShare, disk?.bytes)
        return levels
    }
}
