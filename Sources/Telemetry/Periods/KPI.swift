/// A key performance indicator: what is looked at, what it should be, and from where on it is bad.
public struct KPI: Sendable {
    public enum State: String, Sendable, Codable, CaseIterable {
        case ok, warning, critical
        /// Nothing happened that could be judged. Not the same as ok.
        case noData = "no_data"
    }

    public enum Unit: String, Sendable { case seconds, share, perMinute = "per_minute", people, bytes, bytesPerSecond = "bytes_per_second" }

    public let group: String
    public let name: String
    public let unit: Unit
    /// nil: nothing is asked of it; it is there to be seen.
    public let target: Double?
    private let judge: @Sendable (Double, Period) -> State
    private let measure: @Sendable (Period) -> Double?

    /// The value, nil where there is no data, and what is to be thought of it.
    public func look(at period: Period?) -> (value: Double?, state: State) {
        guard let period, let value = measure(period) else { return (nil, .noData) }
        return (value, judge(value, period))
    }

    /// The less the better.
    private init(
        _ group: String, _ name: String, _ unit: Unit, _ limit: Targets.Limit, _ measure: @escaping @Sendable (Period) -> Double?
    ) {
        (self.group, self.name, self.unit, target, self.measure) = (group, name, unit, limit.target, measure)
        judge = { value, _ in limit.state(of: value) }
    }

    /// A figure without a target.
    private init(_ group: String, _ name: String, _ unit: Unit, _ measure: @escaping @Sendable (Period) -> Double?) {
        (self.group, self.name, self.unit, target, self.measure) = (group, name, unit, nil, measure)
        judge = { _, _ in .ok }
    }

    /// A rate that must be held where it is asked for: what is below the target is bad only where the machine gives no more.
    private init(_ group: String, _ name: String, atLeast target: Double, _ measure: @escaping @Sendable (Period) -> Double?) {
        (self.group, self.name, unit, self.target, self.measure) = (group, name, .perMinute, target, measure)
        judge = { value, period in
            guard value < target, let busy = period.processorShare else { return .ok }
            return busy > 0.95 ? .critical : busy > 0.8 ? .warning : .ok
        }
    }

    /// All of them: the sixteen with a target, and sizes that are known also where their share of a whole is not.
    public static let all: [KPI] = [
        KPI("api", "response_time_p95", .seconds, Targets.responseP95) { $0.counts.requests.quantile(0.95) },
        KPI("api", "response_time_p99", .seconds, Targets.responseP99) { $0.counts.requests.quantile(0.99) },
        KPI("api", "throughput", atLeast: Targets.requestsPerMinute) { $0.perMinute($0.counts.requests.total) },
        KPI("api", "error_rate", .share, Targets.errors) { $0.errorShare },

        KPI("database", "query_time_p95", .seconds, Targets.queryP95) { $0.counts.statements.quantile(0.95) },
        // The busiest quarter of a second: a pool that is exhausted for a second counts, also in an hour.
        KPI("database", "connection_pool_utilization", .share, Targets.pool) { $0.most.pool },
        KPI("database", "slow_query_rate", .share, Targets.slowStatements) {
            $0.counts.statements.share(above: Targets.slowStatementSeconds)
        },
        KPI("database", "deadlock_rate", .share, Targets.deadlocks) { share($0.counts.deadlocks, of: $0.counts.statements.total) },
        KPI("database", "size", .bytes) { $0.most.storeBytes },

        KPI("queue", "processing_time_avg", .seconds, Targets.processing) { $0.meanProcessing },
        // A line is as long as there are people who come: that many wait is no fault, but more than was planned for.
        KPI("queue", "queue_length_avg", .people, Targets.queueLength) {
            $0.mean.queues > 0 ? $0.mean.waiting / $0.mean.queues : nil
        },
        KPI("queue", "throughput_per_minute", atLeast: Targets.joinsPerMinute) { $0.perMinute($0.counts.joins) },
        KPI("queue", "error_rate", .share, Targets.queueErrors) { share($0.counts.failedCommands, of: $0.counts.commands) },

        KPI("system", "cpu_utilization", .share, Targets.processor) { $0.processorShare },
        KPI("system", "memory_utilization", .share, Targets.memory) { $0.mean.memory },
        KPI("system", "disk_utilization", .share, Targets.disk) { $0.mean.disk },
        KPI("system", "network_utilization", .share, Targets.network) { $0.networkShare },
        KPI("system", "network_rate", .bytesPerSecond) {
            $0.seconds > 0 && $0.counts.networkBytes > 0 ? $0.counts.networkBytes / $0.seconds : nil
        },
    ]

    private static func share(_ part: Int64, of all: Int64) -> Double? { all > 0 ? Double(part) / Double(all) : nil }
}

extension Period {
    /// Of the processors that there are for it.
    public var processorShare: Double? { counts.machineSeconds > 0 ? counts.processorSeconds / counts.machineSeconds : nil }
    /// Of the fastest network interface.
    public var networkShare: Double? { counts.networkRoom > 0 ? counts.networkBytes / counts.networkRoom : nil }
    /// Seconds from joining to being let in; nil where nobody was.
    public var meanWait: Double? { counts.admitted > 0 ? counts.waitedSeconds / Double(counts.admitted) : nil }
    /// Seconds from the moment that somebody could have been admitted until they were told: late releases, and the way from
    /// a release to its visitor's socket or next poll. nil where nobody was admitted.
    public var meanProcessing: Double? { counts.releases.mean.map { $0 + (counts.admissions.mean ?? 0) } }
    public var errorShare: Double? {
        counts.requests.total > 0 ? Double(counts.failedRequests) / Double(counts.requests.total) : nil
    }

    /// nil where there was nothing.
    public func perMinute(_ count: Int64) -> Double? { count > 0 && seconds > 0 ? 60 * Double(count) / seconds : nil }
}

/// How much of what may fail has not failed yet, where 99.9 % of requests must not over 30 days.
public struct ErrorBudget: Sendable, Equatable {
    public static let promise = 0.999
    public static let days = 30

    public let requests: Int64
    public let failed: Int64

    public init(requests: Int64, failed: Int64) { (self.requests, self.failed) = (requests, failed) }

    /// 1: all of it; below 0: more has failed than may. nil where nothing was asked.
    public var left: Double? { requests > 0 ? 1 - Double(failed) / (Double(requests) * (1 - ErrorBudget.promise)) : nil }

    public var state: KPI.State {
        guard let left else { return .noData }
        return left <= 0 ? .critical : left < 0.25 ? .warning : .ok
    }
}
