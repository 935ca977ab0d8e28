import Foundation

/// How many machines some number of people needs, now and as they become more.
public struct CapacityPlan: Codable, Sendable, Equatable {
    /// One machine that an instance runs on alone.
    public struct Machine: Codable, Sendable, Equatable {
        public var cores: Double
        public var memoryBytes: Double
        public init(cores: Double, memoryBytes: Double) {
            self.cores = cores
            self.memoryBytes = memoryBytes
        }
    }

    /// How much of a machine may be used before there is to be another: what is left is for peaks, and for the time
    /// that another takes.
    public struct Triggers: Codable, Sendable, Equatable {
        public var processorShare = 0.7
        public var memoryShare = 0.8
        /// Connections that one instance is to hold: more are possible, and take longer to move when it dies.
        public var connections = 50_000.0
        public init() {}
    }

    public struct Row: Codable, Sendable, Equatable {
        public let month: Double
        public let users: Double
        /// Of all instances together.
        public let processors: Double
        public let memoryBytes: Double
        public let eventsPerSecond: Double
        /// What those bring Postgres in a month, at so many bytes an event with its session's share.
        public let storageBytesPerMonth: Double
        /// What Redis carries, bytes a second.
        public let busBytesPerSecond: Double
        /// With one to spare where there are several: the others hold everybody when it dies.
        public let instances: Int
        /// What decides how many.
        public let limit: Resource
    }

    public enum Resource: String, Codable, Sendable, CaseIterable { case processors, memory, connections }

    public let machine: Machine
    public let triggers: Triggers
    public let growthPercentPerMonth: Double
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

    /// - Parameter months: the last month that is looked at; the first row is now, and one lies in the middle.
    public init(
        users: Double, growthPercentPerMonth growth: Double, months: Double, model: LoadModel, machine: Machine,
        triggers: Triggers = Triggers()
    ) {
        self.machine = machine
        self.triggers = triggers
        growthPercentPerMonth = growth
        let factor = 1 + growth / 100
        rows = [0, months / 2, months].map { month in
            CapacityPlan.row(month, users * pow(factor, month), model, machine, triggers)
        }
        // Shares of what the machines of today may carry; the spare one carries nothing.
        let working = Double(max(1, rows[0].instances == 1 ? 1 : rows[0].instances - 1))
        let shares = CapacityPlan.needs(users, model, machine, triggers).mapValues { $0 / working }
        let (resource, share) = shares.max { ($0.value, $1.key.rawValue) < ($1.value, $0.key.rawValue) }!
        firstToRunOut = resource
        monthsUntilThen = growth > 0 ? max(0, log(1 / share) / log(factor)) : nil
    }

    /// Machines that each resource needs, in parts of one.
    private static func needs(_ users: Double, _ model: LoadModel, _ machine: Machine, _ triggers: Triggers) -> [Resource: Double] {
        // Every machine has an empty server in it.
        let memory = machine.memoryBytes * triggers.memoryShare - model.residentBytes.base
        return [
            .processors: model.processors(users) / (machine.cores * triggers.processorShare),
            .memory: memory > 0 ? model.residentBytes.each * users / memory : .greatestFiniteMagnitude,
            .connections: users / triggers.connections,
        ]
    }

    private static func row(
        _ month: Double, _ users: Double, _ model: LoadModel, _ machine: Machine, _ triggers: Triggers
    ) -> Row {
        let needs = needs(users, model, machine, triggers)
        let (limit, most) = needs.max { ($0.value, $1.key.rawValue) < ($1.value, $0.key.rawValue) }!
        let working = max(1, most.rounded(.up))
        let instances = Int(min(working == 1 ? 1 : working + 1, 1e6))
        let events = model.events(users)
        return Row(
            month: month, users: users.rounded(), processors: model.processors(users),
            memoryBytes: model.residentBytes.base * Double(instances) + model.residentBytes.each * users, eventsPerSecond: events,
            storageBytesPerMonth: events * bytesPerEvent * 30 * 86_400, busBytesPerSecond: events * busBytesPerEvent * Double(instances),
            instances: instances, limit: limit)
    }

    /// For people at a terminal.
    public var table: String {
        var lines = ["month      people  processors  memory GB  events/s  Postgres GB/month  Redis kB/s  instances  because of"]
        for row in rows {
            lines.append(
                String(
                    format: "%5.4g%12.0f%12.2f%11.2f%10.1f%19.1f%12.1f%11d  ", row.month, row.users, row.processors, row.memoryBytes / 1e9,
                    row.eventsPerSecond, row.storageBytesPerMonth / 1e9, row.busBytesPerSecond / 1e3, row.instances) + row.limit.rawValue)
        }
        lines.append(
            String(
                format:
                    "Each instance has %g processors, to be used to %.0f %%, and %.1f GB, to be used to %.0f %%, and holds %.0f connections.",
                machine.cores, triggers.processorShare * 100, machine.memoryBytes / 1e9, triggers.memoryShare * 100, triggers.connections))
        if let monthsUntilThen {
            lines.append(
                String(format: "With the instances of today %@ run out first, in %.1f months.", firstToRunOut.rawValue, monthsUntilThen))
        }
        return lines.joined(separator: "\n")
    }

    /// Instances and processors over the months, as SVG.
    public var chart: String {
        let (width, height, left, bottom) = (640.0, 260.0, 50.0, 30.0)
        let last = max(rows.last!.month, 1e-9)
        let top = max(1, rows.map { max(Double($0.instances), $0.processors) }.max()!)
        func line(_ colour: String, _ name: String, _ number: Double, _ value: (Row) -> Double) -> String {
            let points = rows.map { row in
                String(
                    format: "%.1f,%.1f", left + (width - left - 20) * row.month / last, 20 + (height - bottom - 20) * (1 - value(row) / top)
                )
            }
            return """
                <polyline fill="none" stroke="\(colour)" stroke-width="2" points="\(points.joined(separator: " "))"/>
                <text x="\(left + 10)" y="\(30 + number * 16)" fill="\(colour)">\(name)</text>
                """
        }
        return """
            <svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 \(Int(width)) \(Int(height))" font-family="system-ui, sans-serif" font-size="12">
            <rect width="100%" height="100%" fill="#f7f8fa"/>
            <text x="6" y="24">\(String(format: "%.3g", top))</text><text x="6" y="\(height - bottom)">0</text>
            <text x="\(left)" y="\(height - 8)">now</text><text x="\(width - 80)" y="\(height - 8)">\(String(format: "%g", last)) months</text>
            \(line("#2d6cdf", "instances", 0) { Double($0.instances) })
            \(line("#d9822b", "processors", 1) { $0.processors })
            </svg>
            """
    }
}
