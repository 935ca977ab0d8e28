public import EventLoop
import Locks
import QueueEngine
public import QueueService

/// The shared home of queues: a Postgres database, which several instances serve from.
///
/// All connections are on one loop, the service's: a commit crosses no thread.
public final class PostgresStore: QueueStore {
    public var isShared: Bool { true }
    let loop: EventLoop
    let settings: PostgresSettings
    /// Host and database, for messages.
    private let name: String
    private let pool: LoopBound<PostgresPool>
    private let poolLoad = PoolLoad()
    /// Queues of which another transaction may have locked a row: an append tries them apart from the others until they go through.
    let suspects = Lock<Set<QueueID>>([])
    /// For what may be a little old.
    private let replicas: LoopBound<PostgresPool>?

    /// Connects, and brings the schema up to date; one instance of several that start at once does it.
    ///
    /// - Parameter uri: `postgresql://user:password@host:port/database?sslmode=…`, several hosts with commas between
    ///   them, as libpq takes it.
    public static func open(
        uri: String, loop: EventLoop, settings: PostgresSettings = PostgresSettings()
    ) async throws(StoreOpenError) -> PostgresStore {
        let store = try PostgresStore(uri: uri, loop: loop, settings: settings)
        do throws(StoreOpenError) {
            try await store.migrate()
        } catch {
            store.close()
            throw error
        }
        return store
    }

    init(uri: String, loop: EventLoop, settings: PostgresSettings) throws(StoreOpenError) {
        do throws(PostgresAddress.Malformed) {
            let address = try PostgresAddress(uri: uri)
            self.loop = loop
            self.settings = settings
            name = address.description
            pool = LoopBound(PostgresPool(loop: loop, address: address, settings: settings, load: poolLoad), to: loop)
            replicas = try settings.readURI.map { uri throws(PostgresAddress.Malformed) in
                let address = try PostgresAddress(uri: uri, for: .reading)
                return LoopBound(PostgresPool(loop: loop, address: address, settings: settings, load: PoolLoad()), to: loop)
            }
        } catch {
            throw .malformed(error.reason)
        }
    }

    public func takeLoad() -> StoreLoad {
        poolLoad.take()
    }

    // Its connections belong to the loop, and are taken from it there.
    deinit { close() }

    /// Ends all connections. What is asked from here on fails.
    public func close() {
        for pool in [pool, replicas].compactMap({ $0 }) { loop.execute { pool.onLoop.close() } }
    }

    /// Carries out statements in one transaction.
    func run(_ calls: [PostgresCall], seconds: Int, lane: PostgresLane = .lookups) async -> Result<[PostgresResult], PostgresError> {
        await run(calls, seconds: seconds, lane: lane, on: pool)
    }

    private func run(
        _ calls: [PostgresCall], seconds: Int, lane: PostgresLane, on pool: LoopBound<PostgresPool>
    ) async -> Result<[PostgresResult], PostgresError> {
        let answer = Answer()
        await withCheckedContinuation { continuation in
            let ask = SendableCalls(calls: calls)
            let start: @Sendable () -> Void = {
                pool.onLoop.run(ask.calls, seconds: seconds, lane: lane) { result in
                    answer.value.withLock { $0 = result }
                    continuation.resume()
                }
            }
            if loop.isOnLoop { start() } else { loop.execute(start) }
        }
        return answer.value.withLock { $0! }
    }

    /// An answer on its way to another thread: through a lock, which the thread sanitizer sees; a continuation it does not.
    private final class Answer: Sendable {
        let value = Lock<Result<[PostgresResult], PostgresError>?>(nil)
    }

    private struct SendableCalls: Sendable { let calls: [PostgresCall] }

    /// Carries out statements that may be repeated: they change nothing, or the same however often. A connection that is
    /// lost with the answer is replaced within the request's own time limit.
    ///
    /// - Parameter seconds: nil: what a visitor may be kept waiting for.
    func repeating(
        _ calls: [PostgresCall], seconds: Int? = nil, lane: PostgresLane = .lookups
    ) async -> Result<[PostgresResult], PostgresError> {
        let seconds = seconds ?? settings.answerSeconds
        let deadline = EventLoop.monotonicNow() + UInt64(seconds) * 1_000_000_000
        var result = await run(calls, seconds: seconds, lane: lane)
        var turns = 0
        while case .failure(let error) = result, error.isInDoubt || error.isGivingWay, EventLoop.monotonicNow() < deadline {
            turns += 1
            if turns > 1 { await settings.pause(turns - 1) }
            result = await run(calls, seconds: seconds, lane: lane)
        }
        return result
    }

    func reading(_ calls: [PostgresCall], seconds: Int? = nil, lane: PostgresLane = .lookups) async throws(StoreError) -> [PostgresResult] {
        do { return try await repeating(calls, seconds: seconds, lane: lane).get() } catch { throw StoreError(reading: error) }
    }

    func row(_ call: PostgresCall, lane: PostgresLane = .lookups) async throws(StoreError) -> PostgresRow? {
        try await reading([call], lane: lane)[0].first
    }

    func rows(_ call: PostgresCall, lane: PostgresLane = .lookups) async throws(StoreError) -> [PostgresRow] {
        try await reading([call], lane: lane)[0].rows
    }

    /// A list, which may be a little old: from a replica where there is one that answers.
    func list(_ call: PostgresCall) async throws(StoreError) -> [PostgresRow] {
        if let replicas {
            let result = await run([call], seconds: settings.answerSeconds, lane: .lists, on: replicas)
            do throws(PostgresError) { return try result.get()[0].rows } catch {
                // What is too much for a replica would be too much for its home.
                if error.isBusy { throw StoreError(error) }
            }
        }
        return try await reading([call], lane: .lists)[0].rows
    }

    /// A write that somebody may see done although it is said to have failed.
    @discardableResult
    func writing(_ call: PostgresCall, lane: PostgresLane = .lookups) async throws(StoreError) -> PostgresResult {
        do { return try await run([call], seconds: settings.answerSeconds, lane: lane).get()[0] } catch { throw StoreError(error) }
    }
}

// MARK: - The schema

extension PostgresStore {
    private static let lockNumber: Int64 = 0x5374_616E_6368_696F  // "Stanchio"

    /// Whether the database's schema is the one of this program; changes nothing.
    public static func isCurrent(uri: String, loop: EventLoop) async throws(StoreOpenError) -> Bool {
        let store = try PostgresStore(uri: uri, loop: loop, settings: PostgresSettings())
        defer { store.close() }
        return try await store.version() == PostgresSchema.newest
    }

    private func migrate() async throws(StoreOpenError) {
        var version = try await version()
        for migration in PostgresSchema.migrations where migration.version > version {
            do throws(PostgresError) {
                _ = try await run(
                    [
                        PostgresCall("SELECT pg_advisory_xact_lock($1)").with(PostgresStore.lockNumber),
                        PostgresCall(
                            """
                            CREATE TABLE IF NOT EXISTS schema_migrations (
                                version bigint PRIMARY KEY, name text NOT NULL, applied_at timestamptz NOT NULL DEFAULT now())
                            """),
                        PostgresCall("INSERT INTO schema_migrations (version, name) VALUES ($1, $2)").with(migration.version)
                            .with(migration.name),
                    ] + migration.statements.map { PostgresCall($0) }, seconds: 600
                ).get()
            } catch {
                // Another instance was first.
                guard error.isUniqueViolation else { throw .unreachable(error.description) }
            }
        }
        version = try await self.version()
        guard version == PostgresSchema.newest else { throw .unreachable("its schema is still at version \(version)") }
    }

    /// The newest migration that was made; 0 in an empty database.
    private func version() async throws(StoreOpenError) -> Int64 {
        guard try await hasSchema() else { return 0 }
        do {
            let version: Int64 = try await rows(PostgresCall("SELECT coalesce(max(version), 0) FROM schema_migrations"))[0].get(0)
            guard version <= PostgresSchema.newest else { throw StoreOpenError.newer(name) }
            return version
        } catch let error as StoreOpenError {
            throw error
        } catch {
            throw .unreachable("\(error)")
        }
    }

    /// Whether any migration was made.
    ///
    /// - Throws: where the server or the database is none to serve from.
    @discardableResult
    func hasSchema() async throws(StoreOpenError) -> Bool {
        do {
            let about = try await run(
                [
                    PostgresCall(
                        """
                        SELECT current_setting('server_version_num')::bigint, to_regclass('schema_migrations') IS NOT NULL,
                            current_setting('server_version'), current_setting('server_encoding')
                        """)
                ], seconds: 10
            ).get()[0].first!
            guard try about.get(0) as Int64 >= 130_000 else { throw StoreOpenError.tooOld(try about.get(2)) }
            let encoding: String = try about.get(3)
            guard encoding == "UTF8" else { throw StoreOpenError.notUTF8(name, encoding) }
            return try about.get(1)
        } catch let error as StoreOpenError {
            throw error
        } catch let error as PostgresError {
            throw .unreachable(error.description)
        } catch {
            throw .unreachable("\(error)")
        }
    }
}
