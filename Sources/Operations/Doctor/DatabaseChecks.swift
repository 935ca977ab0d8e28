import QueueService
import Storage
import Telemetry

/// What Postgres says of itself.
enum DatabaseChecks {
    static func diagnose(_ facts: PostgresFacts) -> [Diagnosis] {
        [
            missingIndexes, unsafeCommits, lockWaits, slowCommits, idleTransactions, connections, slowStatements, bloat, unanalyzed,
            deadlocks, smallBuffers, distance, fullDisk,
        ].compactMap { $0(facts) }
    }

    private static func missingIndexes(_ facts: PostgresFacts) -> Diagnosis? {
        let broken = facts.indexes.filter { !$0.isValid }.map(\.name)
        guard !facts.missingIndexes.isEmpty || !broken.isEmpty else { return nil }
        return Diagnosis(
            "index_missing", .critical, .database, symptom: "An index of the schema is missing or not usable.",
            evidence: facts.missingIndexes.map { "\($0) is not there" } + broken.map { "\($0) is not valid: it was not built to its end" },
            cause: "Somebody dropped it, a restore left it out, or CREATE INDEX CONCURRENTLY failed.",
            remedy:
                "REINDEX INDEX CONCURRENTLY for one that is not valid. One that is missing: create it as in Storage/Postgres/PostgresSchema.swift.",
            check: "`stanchion doctor` again; then EXPLAIN of what was slow.")
    }

    private static func unsafeCommits(_ facts: PostgresFacts) -> Diagnosis? {
        let off = [("fsync", facts.fsync), ("synchronous_commit", facts.synchronousCommit)].filter { $0.1 == "off" }
        guard !off.isEmpty else { return nil }
        return Diagnosis(
            "commits_unsafe", .critical, .database, symptom: "An acknowledged join may be lost when Postgres' machine dies.",
            evidence: off.map { "\($0.0) is off" }, cause: "It was turned off for speed.",
            remedy: "Turn it on: joins are committed many at a time, and keep their speed.", check: "`SHOW \(off[0].0)` is `on`.")
    }

    private static func lockWaits(_ facts: PostgresFacts) -> Diagnosis? {
        let waits = facts.lockWaits.filter { $0.seconds > 1 }
        guard let longest = waits.map(\.seconds).max(), let severity = Diagnosis.Severity(longest, over: 1, criticalOver: 5) else {
            return nil
        }
        return Diagnosis(
            "lock_wait", severity, .database, symptom: "Statements wait for a lock that somebody holds.",
            evidence: waits.prefix(3).map {
                "process \($0.process) has waited \(Words.time($0.seconds)) for \($0.holder), which is \($0.holderState): "
                    + "\($0.statement.oneLine) ← \($0.holderStatement.oneLine)"
            },
            cause: "A transaction was left open, or a table is being changed while people use it.",
            remedy: "Let it end, or end it: SELECT pg_terminate_backend(\(waits[0].holder)).",
            check: "no row of pg_stat_activity has wait_event_type = 'Lock' for long.")
    }

    private static func idleTransactions(_ facts: PostgresFacts) -> Diagnosis? {
        guard let longest = facts.idleTransactions.first else { return nil }
        return Diagnosis(
            "idle_transaction", .warning, .database, symptom: "A transaction is open, and nothing happens in it.",
            evidence: facts.idleTransactions.prefix(3).map {
                "process \($0.process), for \(Words.time($0.seconds)), after: \($0.statement.oneLine)"
            },
            cause: "A client that forgot to commit, or died. Its locks are held, and dead rows behind it cannot be cleared away.",
            remedy: "SELECT pg_terminate_backend(\(longest.process)); idle_in_transaction_session_timeout does it by itself.",
            check: "no state `idle in transaction` in pg_stat_activity.")
    }

    private static func connections(_ facts: PostgresFacts) -> Diagnosis? {
        let open = facts.connections.values.reduce(0, +)
        let share = Double(open) / Double(facts.maximumConnections)
        guard let severity = Diagnosis.Severity(share, Targets.pool) else { return nil }
        return Diagnosis(
            "connections_short", severity, .database,
            symptom: "Postgres has hardly a connection left.",
            evidence: ["\(open) of max_connections = \(facts.maximumConnections)"]
                + Words.largest(facts.connections.mapValues { Double($0) }).map { "in state \($0)" },
            cause: "Too many instances, too large pools, or clients that leave connections open.",
            remedy: "Lower --database-connections, or raise max_connections (and restart Postgres).",
            check: "count(*) of pg_stat_activity is below four fifths of max_connections.")
    }

    private static func slowStatements(_ facts: PostgresFacts) -> Diagnosis? {
        guard let statements = facts.slowStatements, let worst = statements.first,
            let severity = Diagnosis.Severity(worst.meanMilliseconds, over: 1_000, criticalOver: 5_000)
        else { return nil }
        return Diagnosis(
            "slow_statements", severity, .database,
            symptom: "Statements take longer than a second on the average.",
            evidence: statements.prefix(3).map {
                "\(Words.time($0.meanMilliseconds / 1_000)) each, \($0.calls) times, \($0.rows) rows: \($0.text.oneLine)"
            },
            cause: "A missing index, stale statistics, or a report that somebody runs on the home and not on a replica.",
            remedy: "EXPLAIN (ANALYZE, BUFFERS) it; reports belong on a replica.",
            check: "SELECT pg_stat_statements_reset(), and look again after some minutes.")
    }

    private static func bloat(_ facts: PostgresFacts) -> Diagnosis? {
        let tables = facts.tables.filter { $0.deadRows > 100_000 && $0.deadRows > $0.liveRows }
        guard !tables.isEmpty else { return nil }
        return Diagnosis(
            "dead_rows", .warning, .database, symptom: "Tables are full of dead rows.",
            evidence: tables.map { "\($0.name): \($0.deadRows) dead, \($0.liveRows) live" },
            cause: "Autovacuum does not keep up, or an open transaction keeps it from clearing away.",
            remedy: "End long transactions, then VACUUM (ANALYZE) the table; Config/postgresql.conf has settings that keep up.",
            check: "n_dead_tup of pg_stat_user_tables falls.")
    }

    private static func unanalyzed(_ facts: PostgresFacts) -> Diagnosis? {
        let tables = facts.tables.filter { $0.liveRows > 100_000 && !$0.isAnalyzed }
        guard !tables.isEmpty else { return nil }
        return Diagnosis(
            "statistics_missing", .warning, .database, symptom: "Postgres plans for tables that it knows nothing of.",
            evidence: tables.map { "\($0.name) has \($0.liveRows) rows and was never analyzed" },
            cause: "The rows came in bulk, by a restore for example, and autovacuum has not come by.", remedy: "ANALYZE.",
            check: "last_analyze of pg_stat_user_tables.")
    }

    private static func deadlocks(_ facts: PostgresFacts) -> Diagnosis? {
        guard facts.deadlocks > 0, Double(facts.deadlocks) > Targets.deadlocks.warning * Double(facts.commits) else { return nil }
        return Diagnosis(
            "deadlocks", .warning, .database, symptom: "Transactions lock each other out.",
            evidence: [
                "\(facts.deadlocks) deadlocks in \(facts.commits) commits; \(Words.percent(Targets.deadlocks.target)) is the target"
            ],
            cause: "Somebody else writes to these tables: the instances take locks in one order.",
            remedy: "Find who in Postgres' log (log_lock_waits = on), and have it take locks in the order of queue_id.",
            check: "deadlocks of pg_stat_database stands still.")
    }

    private static func smallBuffers(_ facts: PostgresFacts) -> Diagnosis? {
        let all = facts.blocksRead + facts.blocksHit
        guard all > 1_000_000, Double(facts.blocksHit) < 0.9 * Double(all) else { return nil }
        return Diagnosis(
            "buffers_small", .warning, .disk, symptom: "Postgres reads from the disk what it should have in memory.",
            evidence: ["\(Words.percent(Double(facts.blocksHit) / Double(all))) of \(all) blocks were found in shared_buffers"],
            cause: "shared_buffers is small for what is used, or something reads whole tables.",
            remedy: "A quarter of the machine's memory for shared_buffers; look at slow statements.",
            check: "blks_hit of pg_stat_database grows much faster than blks_read.")
    }

    private static func fullDisk(_ facts: PostgresFacts) -> Diagnosis? {
        guard let disk = facts.disk, let used = disk.usedShare else { return nil }
        return Diagnosis(
            diskUsed: used,
            evidence: "\(Words.percent(used)) of the disk are in use; the databases take \(Words.rounded(disk.bytes / 1e9)) GB")
    }

    private static func slowCommits(_ facts: PostgresFacts) -> Diagnosis? {
        guard let commit = facts.commitSeconds, let severity = Diagnosis.Severity(syncSeconds: commit - facts.roundTripSeconds) else {
            return nil
        }
        return Diagnosis(
            "slow_sync", severity, .disk,
            symptom: "A commit waits for the disk.",
            evidence: ["a commit of some bytes takes \(Words.time(commit)), of which the way \(Words.time(facts.roundTripSeconds))"],
            cause: "The disk of the write-ahead log is slow to sync, or busy with something else (a checkpoint, a backup, a neighbour); "
                + "or a synchronous standby is far away.",
            remedy: "Put pg_wal on a disk of its own; look at `iostat -x` and at log_checkpoints.",
            check: "`pg_test_fsync`, and this again.")
    }

    private static func distance(_ facts: PostgresFacts) -> Diagnosis? {
        guard let severity = Diagnosis.Severity(facts.roundTripSeconds, over: 0.02, criticalOver: 0.25) else { return nil }
        return Diagnosis(
            "database_far", severity, .network, symptom: "The way to the database is long.",
            evidence: ["SELECT 1 takes \(Words.time(facts.roundTripSeconds)) there and back"],
            cause: "It is in another region, the network is congested, or its machine has no processor left.",
            remedy: "Put the instances beside their database.", check: "below 5 ms.")
    }
}

extension String {
    /// A statement's text without its line breaks.
    var oneLine: String { split(whereSeparator: \.isWhitespace).joined(separator: " ") }
}
