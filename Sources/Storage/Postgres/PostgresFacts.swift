public import EventLoop
public import QueueService

/// What a database says of itself, for whoever looks for what is wrong with it.
public struct PostgresFacts: Sendable {
    /// Somebody waits for a lock that another one has.
    public struct LockWait: Sendable {
        public let process: Int64
        public let seconds: Double
        public let statement: String
        public let holder: Int64
        /// `pg_stat_activity.state`: `active`, `idle in transaction` …
        public let holderState: String
        public let holderStatement: String
    }

    /// A transaction in which nothing happens.
    public struct IdleTransaction: Sendable {
        public let process: Int64
        public let seconds: Double
        public let statement: String
    }

    public struct Statement: Sendable, Encodable {
        public let text: String
        public let calls: Int64
        public let meanMilliseconds: Double
        public let rows: Int64
    }

    public struct Index: Sendable, Encodable {
        public let name: String
        public let isValid: Bool
        public let table: String
        /// How often it was used, and the entries and rows that were read by it, since the statistics were reset.
        public let scans: Int64
        public let rowsRead: Int64
        public let rowsFetched: Int64
    }

    public struct Table: Sendable {
        public let name: String
        public let liveRows: Int64
        public let deadRows: Int64
        public let isAnalyzed: Bool
    }

    public let version: String
    public let maximumConnections: Int64
    public let synchronousCommit: String
    public let fsync: String
    /// Since its statistics were reset.
    public let commits: Int64
    public let deadlocks: Int64
    public let blocksRead: Int64
    public let blocksHit: Int64
    /// How many there are in each `pg_stat_activity.state`.
    public let connections: [String: Int64]
    public let lockWaits: [LockWait]
    public let idleTransactions: [IdleTransaction]
    /// Those that take longer than a second on the average, the slowest first; nil where `pg_stat_statements` is not there.
    public let slowStatements: [Statement]?
    public let indexes: [Index]
    /// Indexes that the schema has and the database has not.
    public let missingIndexes: [String]
    public let tables: [Table]
    /// What the way there and back takes, the median of five.
    public let roundTripSeconds: Double
    /// What it takes of its disk.
    public let disk: DiskUse?
    /// What a commit of nothing but a note in the write-ahead log takes, the way included; nil where it cannot be written.
    public let commitSeconds: Double?
}

extension PostgresStore {
    /// Asks a database about itself. Its schema is left as it is; a few notes of some bytes are written into its
    /// write-ahead log, to see how long a commit takes.
    public static func examine(uri: String, loop: EventLoop) async throws(StoreOpenError) -> PostgresFacts {
        var settings = PostgresSettings()
        settings.connections = 1
        let store = try PostgresStore(uri: uri, loop: loop, settings: settings)
        defer { store.close() }
        try await store.hasSchema()
        do { return try await store.facts() } catch { throw .unreachable("\(error)") }
    }

    private func facts() async throws(StoreError) -> PostgresFacts {
        let about = try await rows(PostgresCall(Examination.about))[0]
        let indexes = try await rows(PostgresCall(Examination.indexes)).map { row throws(StoreError) in
            PostgresFacts.Index(
                name: try row.get(0), isValid: try row.get(1), table: try row.get(2), scans: try row.get(3), rowsRead: try row.get(4),
                rowsFetched: try row.get(5))
        }
        return PostgresFacts(
            version: try about.get(0), maximumConnections: try about.get(1), synchronousCommit: try about.get(2),
            fsync: try about.get(3), commits: try about.get(4), deadlocks: try about.get(5), blocksRead: try about.get(6),
            blocksHit: try about.get(7),
            connections: try await connectionStates(), lockWaits: try await lockWaits(), idleTransactions: try await idleTransactions(),
            slowStatements: try await slowStatements(), indexes: indexes,
            missingIndexes: PostgresSchema.indexes.filter { name in !indexes.contains { $0.name == name } },
            tables: try await rows(PostgresCall(Examination.tables)).map { row throws(StoreError) in
                PostgresFacts.Table(
                    name: try row.get(0), liveRows: try row.get(1), deadRows: try row.get(2), isAnalyzed: try row.get(3))
            },
            roundTripSeconds: await median(of: PostgresCall("SELECT 1::bigint")) ?? .infinity,
            disk: try await diskUse(),
            commitSeconds: await median(of: PostgresCall("SELECT pg_logical_emit_message(true, 'stanchion', 'doctor')::text")))
    }

    private func connectionStates() async throws(StoreError) -> [String: Int64] {
        var states: [String: Int64] = [:]
        for row in try await rows(PostgresCall(Examination.connections)) { states[try row.get(0)] = try row.get(1) }
        return states
    }

    private func lockWaits() async throws(StoreError) -> [PostgresFacts.LockWait] {
        try await rows(PostgresCall(Examination.lockWaits)).map { row throws(StoreError) in
            PostgresFacts.LockWait(
                process: try row.get(0), seconds: try row.get(1), statement: try row.get(2), holder: try row.get(3),
                holderState: try row.get(4), holderStatement: try row.get(5))
        }
    }

    private func idleTransactions() async throws(StoreError) -> [PostgresFacts.IdleTransaction] {
        try await rows(PostgresCall(Examination.idleTransactions)).map { row throws(StoreError) in
            PostgresFacts.IdleTransaction(process: try row.get(0), seconds: try row.get(1), statement: try row.get(2))
        }
    }

    private func slowStatements() async throws(StoreError) -> [PostgresFacts.Statement]? {
        // The extension may be there, and its library not be loaded: then the view says so with an error.
        guard try await rows(PostgresCall("SELECT to_regclass('pg_stat_statements') IS NOT NULL"))[0].get(0),
            case .success(let results) = await run([PostgresCall(Examination.slowStatements)], seconds: 10)
        else { return nil }
        return try results[0].rows.map { row throws(StoreError) in
            PostgresFacts.Statement(
                text: try row.get(0), calls: try row.get(1), meanMilliseconds: try row.get(2), rows: try row.get(3))
        }
    }

    /// - Returns: seconds; nil where it is refused.
    private func median(of call: PostgresCall) async -> Double? {
        var taken: [Double] = []
        for _ in 0..<5 {
            let began = EventLoop.monotonicNow()
            guard case .success = await run([call], seconds: 10) else { return nil }
            taken.append(Double(EventLoop.monotonicNow() - began) / 1e9)
        }
        return taken.sorted()[2]
    }
}

/// What is asked, with the names of the columns that servers have from 13 on.
private enum Examination {
    static let about: StaticString = """
        SELECT current_setting('server_version'), current_setting('max_connections')::bigint, current_setting('synchronous_commit'),
            current_setting('fsync'), xact_commit::bigint, deadlocks::bigint, blks_read::bigint, blks_hit::bigint
        FROM pg_stat_database WHERE datname = current_database()
        """
    static let connections: StaticString = """
        SELECT coalesce(state, 'unknown')::text, count(*)::bigint FROM pg_stat_activity WHERE backend_type = 'client backend' GROUP BY 1
        """
    static let lockWaits: StaticString = """
        SELECT a.pid::bigint, extract(epoch FROM clock_timestamp() - a.query_start)::float8, left(a.query, 120)::text,
            b.pid::bigint, coalesce(b.state, 'unknown')::text, left(b.query, 120)::text
        FROM pg_stat_activity a CROSS JOIN LATERAL unnest(pg_blocking_pids(a.pid)) AS holder (pid)
            JOIN pg_stat_activity b ON b.pid = holder.pid
        WHERE a.wait_event_type = 'Lock' AND a.datname = current_database() ORDER BY 2 DESC LIMIT 10
        """
    static let idleTransactions: StaticString = """
        SELECT pid::bigint, extract(epoch FROM clock_timestamp() - state_change)::float8, left(query, 120)::text FROM pg_stat_activity
        WHERE datname = current_database() AND state LIKE 'idle in transaction%'
            AND state_change < clock_timestamp() - interval '5 seconds'
        ORDER BY 2 DESC LIMIT 10
        """
    static let slowStatements: StaticString = """
        SELECT left(query, 120)::text, calls::bigint, mean_exec_time::float8, rows::bigint FROM pg_stat_statements
        WHERE mean_exec_time > 1000 AND dbid = (SELECT oid FROM pg_database WHERE datname = current_database())
        ORDER BY mean_exec_time DESC LIMIT 10
        """
    static let indexes: StaticString = """
        SELECT s.indexrelname::text, i.indisvalid, s.relname::text, s.idx_scan::bigint, s.idx_tup_read::bigint, s.idx_tup_fetch::bigint
        FROM pg_stat_user_indexes s JOIN pg_index i ON i.indexrelid = s.indexrelid WHERE s.schemaname = current_schema() ORDER BY s.relname, s.indexrelname
        """
    static let tables: StaticString = """
        SELECT relname::text, n_live_tup::bigint, n_dead_tup::bigint, coalesce(last_analyze, last_autoanalyze) IS NOT NULL
        FROM pg_stat_user_tables WHERE schemaname = current_schema()
        """
}
