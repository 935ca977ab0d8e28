import Testing

import QueueService
import Telemetry
@testable import Fanout
@testable import Operations
@testable import Storage

/// What is wrong is found, and where nothing is nothing is found.
@Suite struct DoctorTests {
    /// The metrics of a server that is well, some of them changed.
    static func metrics(_ changed: [String: Double] = [:]) -> MetricsReading {
        var values: [String: Double] = [
            "stanchion_disk_used_ratio": 0.5, "stanchion_network_bytes_per_second": 1e6, "stanchion_processors": 2,
            "process_cpu_seconds_total": 10, "process_resident_memory_bytes": 5e7,
            "process_open_fds": 100, "process_max_fds": 1_000, "stanchion_accepts_exhausted_total": 0,
            "stanchion_memory_used_bytes": 1e8, "stanchion_memory_limit_bytes": 1e9, "stanchion_loop_turn_max_seconds": 0.01,
            "stanchion_store_down": 0, "stanchion_queues_stale": 0, "stanchion_bus_down": 0, "stanchion_store_requests_waiting": 0,
            "stanchion_store_wait_max_seconds": 0.01, "stanchion_replica_lag_events_max": 0, "stanchion_slow_consumers_closed_total": 3,
            "stanchion_dead_peers_closed_total": 3, #"stanchion_slow_clients_total{kind="pong"}"#: 3,
            #"stanchion_refused_total{reason="memory"}"#: 7, #"stanchion_refused_total{reason="joins"}"#: 7,
            #"stanchion_http_requests_total{route="/v1/queues/{id}",method="GET",class="2xx"}"#: 1_000,
            #"stanchion_http_requests_total{route="/v1/queues/{id}",method="GET",class="5xx"}"#: 2,
            #"stanchion_http_request_duration_seconds_bucket{route="/ready",le="0.001"}"#: 1_000,
            #"stanchion_http_request_duration_seconds_bucket{route="/ready",le="2.5"}"#: 1_000,
            #"stanchion_http_request_duration_seconds_bucket{route="/ready",le="+Inf"}"#: 1_000,
            #"stanchion_store_operation_duration_seconds_bucket{operation="append",le="0.001"}"#: 1_000,
            #"stanchion_store_operation_duration_seconds_bucket{operation="append",le="2.5"}"#: 1_000,
            #"stanchion_store_operation_duration_seconds_bucket{operation="append",le="+Inf"}"#: 1_000,
            #"stanchion_admission_delay_seconds_bucket{le="1.0"}"#: 100, #"stanchion_admission_delay_seconds_bucket{le="2.5"}"#: 100,
            #"stanchion_admission_delay_seconds_bucket{le="+Inf"}"#: 100,
            #"stanchion_cache_reads_total{level="memory"}"#: 900, #"stanchion_cache_reads_total{level="shared"}"#: 0,
            #"stanchion_cache_reads_total{level="store"}"#: 200,
        ]
        values.merge(changed) { $1 }
        return MetricsReading("# HELP x y\n" + values.map { "\($0.key) \($0.value)\n" }.joined())!
    }

    static func window(_ before: [String: Double] = [:], _ after: [String: Double]) -> MetricsWindow {
        MetricsWindow(before: metrics(before), after: metrics(after), seconds: 5)
    }

    static let sick: [(id: String, severity: Diagnosis.Severity, before: [String: Double], after: [String: Double])] = [
        ("store_down", .critical, [:], ["stanchion_store_down": 1]),
        ("queues_stale", .critical, [:], ["stanchion_queues_stale": 2]),
        ("bus_down", .warning, [:], ["stanchion_bus_down": 1]),
        ("pool_exhausted", .warning, [:], ["stanchion_store_wait_max_seconds": 1.5]),
        ("pool_exhausted", .warning, ["stanchion_store_requests_waiting": 2], ["stanchion_store_requests_waiting": 1]),
        ("processor_full", .warning, [:], ["process_cpu_seconds_total": 17.5, "stanchion_events_total": 9]),
        ("processor_full", .critical, [:], ["process_cpu_seconds_total": 18.5, "stanchion_events_total": 9]),
        ("memory_short", .warning, [:], ["stanchion_memory_used_bytes": 8e8]),
        ("memory_short", .critical, [:], ["stanchion_memory_used_bytes": 9e8]),
        ("loop_starved", .warning, [:], ["stanchion_loop_turn_max_seconds": 0.5]),
        ("loop_starved", .critical, [:], ["stanchion_loop_turn_max_seconds": 1.5]),
        ("descriptors_short", .warning, [:], ["process_open_fds": 750]),
        ("descriptors_short", .critical, [:], ["process_open_fds": 900]),
        ("descriptors_short", .critical, [:], ["stanchion_accepts_exhausted_total": 1]),
        ("replica_behind", .warning, ["stanchion_replica_lag_events_max": 5], ["stanchion_replica_lag_events_max": 5]),
        ("slow_peers", .warning, [:], [#"stanchion_slow_clients_total{kind="pong"}"#: 4]),
        ("slow_peers", .warning, [:], ["stanchion_slow_consumers_closed_total": 4]),
        ("visitors_refused", .critical, [:], [#"stanchion_refused_total{reason="memory"}"#: 8]),
        (
            "errors", .warning, [:],
            [
                #"stanchion_http_requests_total{route="/v1/queues/{id}",method="GET",class="2xx"}"#: 2_000,
                #"stanchion_http_requests_total{route="/v1/queues/{id}",method="GET",class="5xx"}"#: 10,
            ]
        ),
        ("errors", .critical, [:], [#"stanchion_http_requests_total{route="/v1/queues/{id}",method="GET",class="5xx"}"#: 10]),
        (
            "slow_responses", .critical, [:],
            [
                #"stanchion_http_request_duration_seconds_bucket{route="/ready",le="2.5"}"#: 1_100,
                #"stanchion_http_request_duration_seconds_bucket{route="/ready",le="+Inf"}"#: 1_100,
            ]
        ),
        (
            "slow_store", .critical, [:],
            [
                #"stanchion_store_operation_duration_seconds_bucket{operation="append",le="2.5"}"#: 1_001,
                #"stanchion_store_operation_duration_seconds_bucket{operation="append",le="+Inf"}"#: 1_001,
            ]
        ),
        (
            "late_admissions", .warning, [:],
            [
                #"stanchion_admission_delay_seconds_bucket{le="2.5"}"#: 110, #"stanchion_admission_delay_seconds_bucket{le="+Inf"}"#: 110,
            ]
        ),
        ("disk_short", .warning, [:], ["stanchion_disk_used_ratio": 0.86]),
        ("disk_short", .critical, [:], ["stanchion_disk_used_ratio": 0.96]),
        ("network_full", .warning, [:], [#"stanchion_network_sent_bytes_total{loop="0"}"#: 3.1e6]),
        ("network_full", .critical, [:], [#"stanchion_network_sent_bytes_total{loop="0"}"#: 4.1e6]),
        ("late_releases", .warning, [:], ["stanchion_release_lag_seconds_sum": 320, "stanchion_release_lag_seconds_count": 20]),
        ("late_releases", .critical, [:], ["stanchion_release_lag_seconds_sum": 620, "stanchion_release_lag_seconds_count": 20]),
        ("busy_for_nothing", .warning, [:], ["process_cpu_seconds_total": 12]),
        ("busy_for_nothing", .warning, [:], ["stanchion_idle_ticks_total": 1]),
        ("cache_useless", .warning, [:], [#"stanchion_cache_reads_total{level="store"}"#: 9_000]),
    ]

    @Test(arguments: sick.indices) func whatMetricsTellIsFound(_ index: Int) {
        let sick = DoctorTests.sick[index]
        let found = ServerChecks.diagnose(DoctorTests.window(sick.before, sick.after))
        #expect(found.map(\.id) == [sick.id])
        #expect(found.map(\.severity) == [sick.severity])
    }

    @Test func whereNothingIsWrongNothingIsFound() {
        #expect(ServerChecks.diagnose(DoctorTests.window([:], [:])).isEmpty)
        #expect(DatabaseChecks.diagnose(DoctorTests.facts()).isEmpty)
        #expect(RedisChecks.diagnose(DoctorTests.redis()).isEmpty)
        #expect(DiskChecks.diagnose(DiskFacts(freeBytes: 5e10, wholeBytes: 1e11, syncSeconds: 0.004)).isEmpty)
        // What it does to let somebody wait in peace is ordinary: a few who were refused a join, one who caught up.
        let busy = ServerChecks.diagnose(
            DoctorTests.window(
                ["stanchion_replica_lag_events_max": 5],
                ["stanchion_replica_lag_events_max": 1, #"stanchion_refused_total{reason="joins"}"#: 900]))
        #expect(busy.isEmpty)
    }

    // MARK: The database

    /// A database that is well.
    static func facts(
        version: String = "15.1", synchronousCommit: String = "on", fsync: String = "on", deadlocks: Int64 = 1, blocksRead: Int64 = 1_000,
        connections: [String: Int64] = ["idle": 10, "active": 1], lockWaits: [PostgresFacts.LockWait] = [],
        idleTransactions: [PostgresFacts.IdleTransaction] = [], slowStatements: [PostgresFacts.Statement]? = nil,
        indexes: [PostgresFacts.Index] = [], missingIndexes: [String] = [], tables: [PostgresFacts.Table] = [],
        roundTrip: Double = 0.0005, commit: Double? = 0.005, diskUsed: Double? = 0.5
    ) -> PostgresFacts {
        PostgresFacts(
            version: version, maximumConnections: 100, synchronousCommit: synchronousCommit, fsync: fsync, commits: 1_000_000,
            deadlocks: deadlocks, blocksRead: blocksRead, blocksHit: 10_000_000, connections: connections, lockWaits: lockWaits,
            idleTransactions: idleTransactions, slowStatements: slowStatements, indexes: indexes, missingIndexes: missingIndexes,
            tables: tables, roundTripSeconds: roundTrip, disk: DiskUse(bytes: 1e9, usedShare: diskUsed), commitSeconds: commit)
    }

    static func wait(_ seconds: Double) -> PostgresFacts.LockWait {
        .init(process: 1, seconds: seconds, statement: "SELECT\n 1", holder: 2, holderState: "idle in transaction", holderStatement: "LOCK")
    }

    static func table(live: Int64, dead: Int64, isAnalyzed: Bool = true) -> PostgresFacts.Table {
        .init(name: "log", liveRows: live, deadRows: dead, isAnalyzed: isAnalyzed)
    }

    static let sickDatabases: [(id: String, severity: Diagnosis.Severity, facts: PostgresFacts)] = [
        ("index_missing", .critical, facts(missingIndexes: ["log_pkey"])),
        (
            "index_missing", .critical,
            facts(indexes: [.init(name: "log_pkey", isValid: false, table: "log", scans: 0, rowsRead: 0, rowsFetched: 0)])
        ),
        ("commits_unsafe", .critical, facts(synchronousCommit: "off")),
        ("commits_unsafe", .critical, facts(fsync: "off")),
        ("lock_wait", .warning, facts(lockWaits: [wait(2)])),
        ("lock_wait", .critical, facts(lockWaits: [wait(0.1), wait(20)])),
        ("idle_transaction", .warning, facts(idleTransactions: [.init(process: 1, seconds: 60, statement: "SELECT 1")])),
        ("connections_short", .warning, facts(connections: ["idle": 85])),
        ("connections_short", .critical, facts(connections: ["idle": 85, "active": 14])),
        ("slow_statements", .warning, facts(slowStatements: [.init(text: "SELECT", calls: 3, meanMilliseconds: 1_500, rows: 1)])),
        ("dead_rows", .warning, facts(tables: [table(live: 10, dead: 200_000)])),
        ("statistics_missing", .warning, facts(tables: [table(live: 1_000_000, dead: 0, isAnalyzed: false)])),
        ("deadlocks", .warning, facts(deadlocks: 2_000)),
        ("buffers_small", .warning, facts(blocksRead: 5_000_000)),
        ("slow_sync", .warning, facts(commit: 0.1)),
        ("slow_sync", .critical, facts(commit: 0.5)),
        ("disk_short", .warning, facts(diskUsed: 0.9)),
        ("disk_short", .critical, facts(diskUsed: 0.96)),
        ("database_far", .warning, facts(roundTrip: 0.05, commit: 0.06)),
    ]

    @Test(arguments: sickDatabases.indices) func whatTheDatabaseTellsIsFound(_ index: Int) {
        let sick = DoctorTests.sickDatabases[index]
        let found = DatabaseChecks.diagnose(sick.facts)
        #expect(found.map(\.id) == [sick.id])
        #expect(found.map(\.severity) == [sick.severity])
    }

    @Test func aStatementIsShownOnALine() {
        let found = DatabaseChecks.diagnose(DoctorTests.facts(lockWaits: [DoctorTests.wait(2)]))
        #expect(found[0].evidence == ["process 1 has waited 2 s for 2, which is idle in transaction: SELECT 1 ← LOCK"])
    }

    // MARK: Redis, the disk

    static func redis(ping: Double = 0.0002, slow: [RedisFacts.SlowCommand] = [], info: [String: String] = [:]) -> RedisFacts {
        // Once may be chance.
        RedisFacts(info: info, slow: slow, pingSeconds: [0.0002, ping, 0.0002, ping, 0.0002], now: 1_000_000)
    }

    @Test func whatRedisTellsIsFound() {
        func ids(_ facts: RedisFacts) -> [String] { RedisChecks.diagnose(facts).map(\.id) }
        #expect(ids(DoctorTests.redis(ping: 0.1)) == ["redis_slow"])
        #expect(ids(DoctorTests.redis(slow: [.init(at: 999_900, seconds: 0.5, command: "KEYS *")])) == ["redis_slow_commands"])
        #expect(ids(DoctorTests.redis(slow: [.init(at: 990_000, seconds: 0.5, command: "KEYS *")])).isEmpty)
        let full = ["used_memory": "95", "maxmemory": "100", "maxmemory_policy": "noeviction"]
        #expect(ids(DoctorTests.redis(info: full)) == ["redis_full"])
        #expect(ids(DoctorTests.redis(info: full.merging(["maxmemory_policy": "allkeys-lru"]) { $1 })).isEmpty)
    }

    @Test func whatTheDiskTellsIsFound() {
        func found(_ free: Double, _ sync: Double) -> [String] {
            DiskChecks.diagnose(DiskFacts(freeBytes: free, wholeBytes: 1e11, syncSeconds: sync)).map { "\($0.id) \($0.severity)" }
        }
        #expect(found(1e10, 0.001) == ["disk_short warning"])
        #expect(found(1e9, 0.001) == ["disk_short critical"])
        #expect(found(5e10, 0.1) == ["slow_sync warning"])
        #expect(found(5e10, 0.5) == ["slow_sync critical"])
    }

    // MARK: Reading

    @Test func aQuantileLiesBetweenTwoBounds() {
        let name = "stanchion_admission_delay_seconds"
        func quantile(_ share: Double, _ counts: (Double, Double, Double)) -> Double? {
            DoctorTests.window(
                [:],
                [
                    #"\#(name)_bucket{le="1.0"}"#: 100 + counts.0, #"\#(name)_bucket{le="2.5"}"#: 100 + counts.1,
                    #"\#(name)_bucket{le="+Inf"}"#: 100 + counts.2,
                ]
            ).quantile(share, name)
        }
        #expect(quantile(0.5, (10, 10, 10)) == 0.5)
        #expect(quantile(0.75, (5, 10, 10)) == 1.75)
        #expect(quantile(0.99, (0, 5, 10)) == 2.5, "no more is known of what is beyond the last bound")
        #expect(quantile(0.5, (0, 0, 0)) == nil)
    }

    @Test func whatIsNoMetricsIsNone() {
        #expect(MetricsReading("<html>") == nil)
        #expect(MetricsReading("process_cpu_seconds_total 1\n") == nil)
        #expect(DoctorTests.metrics().value("stanchion_http_requests_total", ["route": "/v1/queues/{id}", "class": "5xx"]) == 2)
    }

    @Test func theWorstComesFirst() {
        let (a, b) = (
            DatabaseChecks.diagnose(DoctorTests.facts(deadlocks: 2_000)), DatabaseChecks.diagnose(DoctorTests.facts(fsync: "off"))
        )
        let findings = Findings(diagnoses: a + b, looked: ["it"], notLooked: [])
        #expect(findings.diagnoses.map(\.severity) == [.critical, .warning])
        #expect(findings.hasCritical && !Findings(diagnoses: a, looked: [], notLooked: []).hasCritical)
        #expect(findings.text.contains("CRITICAL An acknowledged join may be lost"))
    }

    @Test func numbersHaveThreeDigits() {
        #expect(Words.rounded(1.23456) == "1.23" && Words.rounded(12.3456) == "12.3" && Words.rounded(1_234.56) == "1235")
        #expect(Words.time(0.0123) == "12.3 ms" && Words.time(2) == "2 s" && Words.percent(0.8) == "80 %")
    }
}
