import Telemetry

/// What a number of people costs: two straight lines through what was measured.
public struct LoadModel: Sendable, Equatable {
    /// `base` for nobody, and `each` for everyone.
    public struct Line: Codable, Sendable, Equatable {
        public var base: Double
        public var each: Double
        public func callAsFunction(_ users: Double) -> Double { base + each * users }

        /// The line with the smallest squares of relative errors through some points; one point is a line from `base`.
        init(through points: [(users: Double, value: Double)], base: Double) {
            let first = points[0]
            self.init(base: base, each: max(0, first.value - base) / first.users)
            guard Set(points.map(\.users)).count > 1 else { return }
            let weights = points.map { 1 / max($0.value * $0.value, 1e-12) }
            let sum = weights.reduce(0, +)
            let meanUsers = zip(weights, points).reduce(0) { $0 + $1.0 * $1.1.users } / sum
            let meanValue = zip(weights, points).reduce(0) { $0 + $1.0 * $1.1.value } / sum
            let slope =
                zip(weights, points).reduce(0) { $0 + $1.0 * ($1.1.users - meanUsers) * ($1.1.value - meanValue) }
                / zip(weights, points).reduce(0) { $0 + $1.0 * ($1.1.users - meanUsers) * ($1.1.users - meanUsers) }
            // More people never cost less; what says so was noise.
            self.init(base: max(0, meanValue - max(0, slope) * meanUsers), each: max(0, slope))
        }

        public init(base: Double, each: Double) {
            self.base = base
            self.each = each
        }
    }

    /// Processors that the servers use together.
    public var processors: Line
    /// Resident bytes, likewise.
    public var residentBytes: Line
    /// Events a second.
    public var events: Line
    /// Bytes a second from clients and to them.
    public var network: Line
    /// Requests a minute, joins and resumes over WebSockets among them.
    public var requests: Line
    /// The fewest people with whom the slowest operation took longer than it may, at the 95th percentile, on one machine; nil: it
    /// never did.
    public var slowFrom: Double?

    /// A server in which nobody is, in resident bytes.
    static let emptyServerBytes = 40e6

    /// From load tests of this machine.
    ///
    /// - Throws: `Unusable` where a report lacks what the server used: it was too short, or it ended early.
    public init(_ reports: [LoadReport]) throws(Unusable) {
        var measured: [(users: Double, server: LoadReport.Server, events: Double, requests: Double)] = []
        var slowFrom: Double?
        for report in reports {
            let full = report.seconds.filter { $0.second > report.scenario.rampSeconds }
            guard let server = report.server, !full.isEmpty, !report.isInterrupted else {
                throw Unusable(scenario: report.scenario.name)
            }
            let users = full.reduce(0) { $0 + Double($1.users) } / Double(full.count)
            let requests = 60 * full.reduce(0) { $0 + Double($1.operations) } / Double(full.count)
            measured.append((max(1, users), server, Double(report.eventsFollowed) / Double(report.seconds.count), requests))
            let slowest = report.operations.map(\.p95).max() ?? 0
            if slowest > Targets.responseP95.target { slowFrom = min(slowFrom ?? .infinity, max(1, users)) }
        }
        guard !measured.isEmpty else { throw Unusable(scenario: "") }
        processors = Line(through: measured.map { ($0.users, $0.server.cores) }, base: 0)
        residentBytes = Line(through: measured.map { ($0.users, $0.server.mostResidentBytes) }, base: LoadModel.emptyServerBytes)
        events = Line(through: measured.map { ($0.users, $0.events) }, base: 0)
        requests = Line(through: measured.map { ($0.users, $0.requests) }, base: 0)
        let carried = measured.compactMap { one in one.server.networkBytesPerSecond.map { (users: one.users, value: $0) } }
        network = carried.isEmpty ? LoadModel.twoProcessors.network : Line(through: carried, base: 0)
        self.slowFrom = slowFrom
    }

    public init(
        processors: Line, residentBytes: Line, events: Line, network: Line = Line(base: 0, each: 0),
        requests: Line = Line(base: 0, each: 0),
        slowFrom: Double? = nil
    ) {
        (self.processors, self.residentBytes, self.events) = (processors, residentBytes, events)
        (self.network, self.requests, self.slowFrom) = (network, requests, slowFrom)
    }

    /// As it was measured with 1,000 and 6,000 people of `peak`, in three quarters of a minute in which they also came, on two
    /// processors that server, clients and SQLite shared; network and requests with 1,000, in a minute and a half.
    public static let twoProcessors = LoadModel(
        processors: Line(base: 0.03, each: 42e-6), residentBytes: Line(base: 43e6, each: 1_450), events: Line(base: 0, each: 0.045),
        network: Line(base: 0, each: 160), requests: Line(base: 0, each: 3.8))

    /// What Postgres' processors take for an event, in seconds, what is read of the log for it included: `peak` with 1,000 people, 27
    /// events a second in commits of one or two. Larger commits take less for each.
    static let databaseSecondsPerEvent = 1.5e-3

    public struct Unusable: Error {
        public let scenario: String
    }
}
