import Foundation
import Telemetry

/// How many machines some number of people needs, now and as people, their requests and the data grow.
public struct CapacityPlan: Codable, Sendable, Equatable {
    /// One machine that an instance runs on alone.
    public struct Machine: Codable, Sendable, Equatable {
        public var cores: Double
        public var memoryBytes: Double
        /// Bytes a second; nil: what the network carries decides nothing.
        public var networkBytesPerSecond: Double?
        public init(cores: Double, memoryBytes: Double, networkBytesPerSecond: Double? = nil) {
            (self.cores, self.memoryBytes, self.networkBytesPerSecond) = (cores, memoryBytes, networkBytesPerSecond)
        }
    }

    /// Of a hundred, a month. People decide memory and connections, requests what processors, network, database and Redis have
    /// to do, data what is stored.
    public struct Growth: Codable, Sendable, Equatable {
        public var users: Double
        public var requests: Double
        public var data: Double
        /// - Parameters: nil: as the people.
        public init(users: Double, requests: Double? = nil, data: Double? = nil) {
            (self.users, self.requests, self.data) = (users, requests ?? users, data ?? users)
        }
    }

    /// How much of a machine may be used before there is to be another: what is left is for peaks, and for the time
    /// that another takes.
    public struct Triggers: Codable, Sendable, Equatable {
        public var processorShare = Targets.processor.target
        public var memoryShare = Targets.memory.target
        public var networkShare = Targets.network.target
        /// Connections that one instance is to hold: more are possible, and take longer to move when it dies.
        public var connections = Targets.connections
        /// The 95th percentile of the slowest operation.
        public var responseSeconds = Targets.responseP95.target
        /// Of the database's machine, from which on it needs a larger one.
        public var databaseProcessorShare = Targets.databaseProcessor.target
        /// Of `max_connections`.
        public var databaseConnectionsShare = Targets.pool.target
        public init() {}
    }

    public struct Row: Codable, Sendable, Equatable {
        public let month: Double
        public let users: Double
        public let requestsPerMinute: Double
        /// Of all instances together.
        public let processors: Double
        public let memoryBytes: Double
        public let networkBytesPerSecond: Double
        public let eventsPerSecond: Double
        /// What those bring Postgres in a month, at so many bytes an event with its session's share.
        public let storageBytesPerMonth: Double
        /// Processors that Postgres uses, and those that its machine needs to use no more than the trigger of them.
        public let databaseProcessors: Double
        public let databaseProcessorsNeeded: Double
        public let databaseConnections: Int
        /// What Redis carries, bytes a second; what it holds, for the ten minutes that it keeps pages; and who is connected.
        public let busBytesPerSecond: Double
        public let redisBytes: Double
        public let redisConnections: Int
        /// With one to spare: the others hold everybody when it dies.
        public let instances: Int
        /// What decides how many.
        public let limit: Resource
    }

    public enum Resource: String, Codable, Sendable, CaseIterable { case processors, memory, connections, network, responses }

    public let machine: Machine
    public let triggers: Triggers
    public let growthPercentPerMonth: Growth
    public let rows: [Row]
    /// Of the machines that are needed now: what there is first too little of, and after how many months.
    public let firstToRunOut: Resource
    /// nil: never, as there is no growth.
    public let monthsUntilThen: Double?

    /// An event in Postgres, in bytes with indexes: 134 measured in the log, and of three events one is a join, whose session takes
    /// 282.
    static let bytesPerEvent = 230.0
    /// What an event adds to a message of the bus, in bytes: reckoned from its form, not measured.
    static let busBytesPerEvent = 40.0
    /// What an event takes in a page that Redis keeps, likewise, and how long that is kept, in seconds.
    static let pageBytesPerEvent = 60.0
    static let pageSeconds = 600.0
    /// What an empty Redis takes, and `maxmemory` of Config/redis.conf, where it forgets pages.
    static let redisBaseBytes = 2e6
    static let redisMostBytes = 256e6
    /// One to listen and one to speak.
    static let redisConnectionsEach = 2
    /// `--database-connections` as it is by itself.
    static let databaseConnectionsEach = 4

    /// - Parameter months: the last month that is looked at; the first row is now, and one lies in the middle.
    public init(users: Double, growth: Growth, months: Double, model: LoadModel, machine: Machine, triggers: Triggers = Triggers()) {
        self.machine = machine
        self.triggers = triggers
        growthPercentPerMonth = growth
        let now = Demand(users: users, work: users, model: model)
        rows = [0, months / 2, months].map { month in
            let demand = Demand(
                users: users * growth.factor(\.users, month), work: users * growth.factor(\.requests, month), model: model)
            return CapacityPlan.row(month, demand, data: now.model.events(users) * growth.factor(\.data, month), machine, triggers)
        }
        // Shares of what the machines of today may carry; the spare one carries nothing.
        let working = Double(max(1, rows[0].instances - 1))
        let months = CapacityPlan.needs(now, machine, triggers).compactMap { resource, need -> (Resource, Double)? in
            let percent = resource == .memory || resource == .connections ? growth.users : growth.requests
            guard need > 0, percent > 0 else { return nil }
            return (resource, max(0, log(working / need) / log(1 + percent / 100)))
        }
        let first = months.min { ($0.1, $0.0.rawValue) < ($1.1, $1.0.rawValue) }
        firstToRunOut = first?.0 ?? rows[0].limit
        monthsUntilThen = first?.1
    }

    /// What people ask of the machines: `work` is as many people as would make as many requests as there are.
    private struct Demand {
        let users: Double
        let work: Double
        let model: LoadModel
    }

    /// Machines that each resource needs, in parts of one.
    private static func needs(_ demand: Demand, _ machine: Machine, _ triggers: Triggers) -> [Resource: Double] {
        let model = demand.model
        // Every machine has an empty server in it.
        let memory = machine.memoryBytes * triggers.memoryShare - model.residentBytes.base
        return [
            .processors: model.processors(demand.work) / (machine.cores * triggers.processorShare),
            .memory: memory > 0 ? model.residentBytes.each * demand.users / memory : .greatestFiniteMagnitude,
            .connections: demand.users / triggers.connections,
            .network: machine.networkBytesPerSecond.map { model.network(demand.work) / ($0 * triggers.networkShare) } ?? 0,
            .responses: model.slowFrom.map { demand.work / $0 } ?? 0,
        ]
    }

    /// - Parameter data: events a second whose data is kept.
    private static func row(_ month: Double, _ demand: Demand, data: Double, _ machine: Machine, _ triggers: Triggers) -> Row {
        let model = demand.model
        let needs = needs(demand, machine, triggers)
        let (limit, most) = needs.max { ($0.value, $1.key.rawValue) < ($1.value, $0.key.rawValue) }!
        let instances = Int(min(max(1, most.rounded(.up)) + 1, 1e6))
        let events = model.events(demand.work)
        let database = events * LoadModel.databaseSecondsPerEvent
        return Row(
            month: month, users: demand.users.rounded(), requestsPerMinute: model.requests(demand.work),
            processors: model.processors(demand.work),
            memoryBytes: model.residentBytes.base * Double(instances) + model.residentBytes.each * demand.users,
            networkBytesPerSecond: model.network(demand.work), eventsPerSecond: events,
            storageBytesPerMonth: data * bytesPerEvent * 30 * 86_400, databaseProcessors: database,
            databaseProcessorsNeeded: max(1, (database / triggers.databaseProcessorShare).rounded(.up)),
            databaseConnections: Int((Double(instances * databaseConnectionsEach) / triggers.databaseConnectionsShare).rounded(.up)),
            busBytesPerSecond: events * busBytesPerEvent * Double(instances),
            redisBytes: min(redisMostBytes, redisBaseBytes + events * pageSeconds * pageBytesPerEvent),
            redisConnections: instances * redisConnectionsEach, instances: instances, limit: limit)
    }
}

extension CapacityPlan.Growth {
    func factor(_ percent: KeyPath<Self, Double>, _ month: Double) -> Double { pow(1 + self[keyPath: percent] / 100, month) }
}
