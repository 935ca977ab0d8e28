/// What a server did in a span of time, and what it held then.
///
/// Periods are added: those that follow each other become a longer one, those of several instances all instances'.
public struct Period: Sendable, Equatable, Codable {
    /// How long it was.
    public let seconds: Double
    public let counts: Counts
    public private(set) var mean: Levels
    public private(set) var most: Levels

    /// - Parameter levels: as they were at its end; it is short.
    public init(seconds: Double, counts: Counts, levels: Levels) {
        (self.seconds, self.counts, mean, most) = (seconds, counts, levels, levels)
    }

    private init(seconds: Double, counts: Counts, mean: Levels, most: Levels) {
        (self.seconds, self.counts, self.mean, self.most) = (seconds, counts, mean, most)
    }

    /// With the one that comes after it, of the same instance.
    public func followed(by next: Period) -> Period {
        let weight = seconds + next.seconds > 0 ? next.seconds / (seconds + next.seconds) : 0
        return Period(
            seconds: seconds + next.seconds, counts: counts + next.counts,
            mean: mean.merged(next.mean) { $0 + ($1 - $0) * weight }, most: most.merged(next.most, max))
    }

    /// Of several instances within the same time, beside each other or one after the other.
    ///
    /// - Parameter span: how long that time was, in seconds.
    public static func together(_ periods: some Sequence<Period>, over span: Double) -> Period? {
        guard var all = periods.reduce(nil, { (all: Period?, next) in all.map { $0.followed(by: next) } ?? next }) else { return nil }
        // Each shows all queues, but a visitor is with one of them.
        let beside = max(1, span > 0 ? all.seconds / span : 1)
        all = Period(seconds: span, counts: all.counts, mean: all.mean, most: all.most)
        all.mean.connections *= beside
        all.most.connections *= beside
        return all
    }
}

/// What only grows.
public struct Counts: Sendable, Equatable, Codable {
    /// Answers to requests, by how long they took, and those among them that were the server's fault (5xx): what a queue
    /// refuses for a reason of its own is none.
    public var requests = Distribution()
    public var failedRequests: Int64 = 0
    /// What the store was asked for.
    public var statements = Distribution()
    public var deadlocks: Int64 = 0
    /// What was asked of queues: done or refused with a reason of theirs, and not done for want of the store.
    public var commands: Int64 = 0
    public var failedCommands: Int64 = 0
    public var joins: Int64 = 0
    /// Admissions, by how late their release was, as the instance that decided them knows.
    public var releases = Distribution()
    /// Admissions, by how long it took to tell their visitors, who are connected or poll here.
    public var admissions = Distribution()
    /// Those who were told so while they were connected, and what they waited for it, together.
    public var admitted: Int64 = 0
    public var waitedSeconds = 0.0
    /// Used, and that there were.
    public var processorSeconds = 0.0
    public var machineSeconds = 0.0
    /// Carried for clients, and that the fastest network interface could have carried; 0 where that does not say.
    public var networkBytes = 0.0
    public var networkRoom = 0.0

    public init() {}

    public static func + (a: Counts, b: Counts) -> Counts { a.combined(with: b, +, +, +) }
    public static func - (a: Counts, b: Counts) -> Counts { a.combined(with: b, -, -, -) }

    private func combined(
        with other: Counts, _ whole: (Int64, Int64) -> Int64, _ number: (Double, Double) -> Double,
        _ distribution: (Distribution, Distribution) -> Distribution
    ) -> Counts {
        var result = Counts()
        result.requests = distribution(requests, other.requests)
        result.failedRequests = whole(failedRequests, other.failedRequests)
        result.statements = distribution(statements, other.statements)
        result.deadlocks = whole(deadlocks, other.deadlocks)
        result.commands = whole(commands, other.commands)
        result.failedCommands = whole(failedCommands, other.failedCommands)
        result.joins = whole(joins, other.joins)
        result.releases = distribution(releases, other.releases)
        result.admissions = distribution(admissions, other.admissions)
        result.admitted = whole(admitted, other.admitted)
        result.waitedSeconds = number(waitedSeconds, other.waitedSeconds)
        result.processorSeconds = number(processorSeconds, other.processorSeconds)
        result.machineSeconds = number(machineSeconds, other.machineSeconds)
        result.networkBytes = number(networkBytes, other.networkBytes)
        result.networkRoom = number(networkRoom, other.networkRoom)
        return result
    }
}

/// What rises and falls.
public struct Levels: Sendable, Equatable, Codable {
    /// Open connections, of every kind.
    public var connections = 0.0
    /// Queues that are not closed.
    public var queues = 0.0
    /// In all of them.
    public var waiting = 0.0
    public var inside = 0.0
    /// Parts of what there is that are in use, 0 to 1; nil: not known, or nothing of the kind.
    public var pool: Double?
    public var memory: Double?
    public var disk: Double?
    /// What the store takes of its disk; nil: not known.
    public var storeBytes: Double?

    public init() {}

    func merged(_ other: Levels, _ merge: (Double, Double) -> Double) -> Levels {
        func merged(_ a: Double?, _ b: Double?) -> Double? {
            guard let a, let b else { return a ?? b }
            return merge(a, b)
        }
        var result = Levels()
        result.connections = merge(connections, other.connections)
        result.queues = merge(queues, other.queues)
        result.waiting = merge(waiting, other.waiting)
        result.inside = merge(inside, other.inside)
        result.pool = merged(pool, other.pool)
        result.memory = merged(memory, other.memory)
        result.disk = merged(disk, other.disk)
        result.storeBytes = merged(storeBytes, other.storeBytes)
        return result
    }
}

extension Counts {
    /// Hours that an older version has stored lack what was not counted then.
    public init(from decoder: any Decoder) throws {
        let values = try decoder.container(keyedBy: CodingKeys.self)
        func value<Value: Decodable>(_ key: CodingKeys, _ missing: Value) throws -> Value {
            try values.decodeIfPresent(Value.self, forKey: key) ?? missing
        }
        self.init()
        requests = try value(.requests, requests)
        failedRequests = try value(.failedRequests, failedRequests)
        statements = try value(.statements, statements)
        deadlocks = try value(.deadlocks, deadlocks)
        commands = try value(.commands, commands)
        failedCommands = try value(.failedCommands, failedCommands)
        joins = try value(.joins, joins)
        releases = try value(.releases, releases)
        admissions = try value(.admissions, admissions)
        admitted = try value(.admitted, admitted)
        waitedSeconds = try value(.waitedSeconds, waitedSeconds)
        processorSeconds = try value(.processorSeconds, processorSeconds)
        machineSeconds = try value(.machineSeconds, machineSeconds)
        networkBytes = try value(.networkBytes, networkBytes)
        networkRoom = try value(.networkRoom, networkRoom)
    }
}
