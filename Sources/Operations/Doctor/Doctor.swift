public import EventLoop
public import Fanout
import HTTPTypes
public import Storage

/// Looks at what it is shown, and says what is wrong there.
public struct Doctor {
    private let group: EventLoopGroup
    private var diagnoses: [Diagnosis] = []
    private var looked: [String] = []
    private var notLooked: [String] = []
    private var database: DatabaseFigures?

    public init() throws(SystemError) { group = try EventLoopGroup(count: 1) }

    /// It cannot be looked at: one sentence.
    public struct Unreachable: Error, CustomStringConvertible {
        public let description: String
    }

    /// Reads an instance's metrics twice.
    public mutating func examine(server address: SocketAddress, key: String?, seconds: Double) async throws {
        let (before, began) = (try await metrics(address, key), EventLoop.monotonicNow())
        try await Task.sleep(for: .seconds(seconds))
        let (after, ended) = (try await metrics(address, key), EventLoop.monotonicNow())
        diagnoses += ServerChecks.diagnose(MetricsWindow(before: before, after: after, seconds: Double(ended - began) / 1e9))
        looked.append("\(address), for \(Words.time(seconds))")
    }

    private func metrics(_ address: SocketAddress, _ key: String?) async throws -> MetricsReading {
        let loop = group.loops[0]
        let client = LoopBound(RESTClient(loop: loop, to: address, timeoutSeconds: 10), to: loop)
        let result = await withCheckedContinuation { continuation in
            loop.execute {
                client.onLoop.send(.get, "/metrics", key: key) { result in
                    client.onLoop.close()
                    continuation.resume(returning: result)
                }
            }
        }
        switch result {
        case .failure(let failed):
            throw Unreachable(description: "\(address) does not answer (\(failed.reason.rawValue)): is a server there? check --url")
        case .success(let answer):
            guard answer.status == 200, let reading = MetricsReading(String(decoding: answer.body, as: UTF8.self)) else {
                throw Unreachable(
                    description: "\(address) is not Stanchion, or the key is none of its (\(answer.status)): check --url and --admin-key")
            }
            return reading
        }
    }

    public mutating func examine(postgres uri: String, named name: String) async throws(StoreOpenError) {
        let facts = try await PostgresStore.examine(uri: uri, loop: group.loops[0])
        diagnoses += DatabaseChecks.diagnose(facts)
        database = DatabaseFigures(facts)
        looked.append("Postgres \(facts.version), \(name)")
        if facts.slowStatements == nil { notLooked.append("the mean time of statements: pg_stat_statements is not there") }
        if facts.commitSeconds == nil { notLooked.append("what a commit takes: it cannot be written there") }
    }

    public mutating func examine(redis address: RedisAddress) async throws {
        let facts: RedisFacts
        switch await RedisFacts.examine(address, on: group.loops[0]) {
        case .success(let answer): facts = answer
        case .failure(let refused): throw Unreachable(description: "Redis at \(address) cannot be asked (\(refused.reason)): check --redis")
        }
        diagnoses += RedisChecks.diagnose(facts)
        looked.append("Redis \(facts.info?["redis_version"] ?? ""), \(address)")
        if facts.info == nil || facts.slow == nil { notLooked.append("Redis' INFO and SLOWLOG: this user may not ask") }
    }

    public mutating func examine(folder: String) throws {
        guard let facts = DiskFacts(folder: folder) else {
            throw Unreachable(description: "\(folder) cannot be written: check --database, and who runs this")
        }
        diagnoses += DiskChecks.diagnose(facts)
        looked.append("the disk of \(folder)")
    }

    public func finish() -> Findings {
        group.stop()
        return Findings(diagnoses: diagnoses, looked: looked, notLooked: notLooked, database: database)
    }
}
