/// What is asked of the service, and from where on a value is bad. The KPIs, the doctor and the capacity plan read these;
/// a test holds Config/alerts.yml to them.
public enum Targets {
    /// A value that should not exceed its target. Alerts may warn before it does.
    public struct Limit: Sendable, Hashable {
        public let target: Double
        /// Above this there is a warning.
        public let warning: Double
        /// Above this it is critical; nil: never.
        public let critical: Double?

        init(target: Double, warning: Double? = nil, critical: Double?) {
            self.target = target
            self.warning = warning ?? target
            self.critical = critical
        }

        public func state(of value: Double) -> KPI.State {
            if let critical, value > critical { return .critical }
            return value > warning ? .warning : .ok
        }
    }

    // Seconds.
    public static let responseP95 = Limit(target: 2, warning: 1.5, critical: 2)
    public static let responseP99 = Limit(target: 5, warning: 3.75, critical: 5)
    public static let queryP95 = Limit(target: 0.5, warning: 0.375, critical: 0.5)
    /// From the moment that somebody could have been admitted until they are told, in the mean.
    public static let processing = Limit(target: 30, warning: 15, critical: 30)
    /// From an admission's place in the log until its visitor is told, 99th percentile.
    public static let admissionDelayP99 = Limit(target: 1, critical: nil)
    /// One turn of an event loop.
    public static let loopTurn = Limit(target: 0.25, critical: 1)
    /// For a connection to the store.
    public static let storeWait = Limit(target: 1, critical: nil)

    // Shares, 0 to 1.
    /// Requests that failed through the service's own fault.
    public static let errors = Limit(target: 0.001, warning: 0.005, critical: 0.01)
    /// Commands that failed for want of the store.
    public static let queueErrors = Limit(target: 0.005, critical: 0.05)
    public static let pool = Limit(target: 0.8, critical: 0.95)
    public static let slowStatements = Limit(target: 0.01, critical: 0.05)
    public static let deadlocks = Limit(target: 0.001, critical: 0.01)
    public static let processor = Limit(target: 0.7, critical: 0.8)
    public static let memory = Limit(target: 0.8, warning: 0.75, critical: 0.85)
    public static let disk = Limit(target: 0.85, critical: 0.95)
    public static let network = Limit(target: 0.6, critical: 0.8)
    /// Descriptors of the process.
    public static let descriptors = Limit(target: 0.7, critical: 0.85)
    /// Of the database's machine.
    public static let databaseProcessor = Limit(target: 0.6, critical: nil)

    /// People in a queue, in the mean.
    public static let queueLength = Limit(target: 100, critical: nil)

    // A minute, where it is asked for.
    public static let requestsPerMinute = 10_000.0
    public static let joinsPerMinute = 1_000.0

    /// A statement that takes longer is slow, in seconds.
    public static let slowStatementSeconds = 0.5
    /// Processors that an instance may use while nothing happens: no event, hardly a request.
    public static let idleProcessors = 0.2
    /// Connections that one instance is to hold.
    public static let connections = 50_000.0
}
