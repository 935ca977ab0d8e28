import Foundation
import GRDB
import QueueEngine
public import QueueService

/// What retention deletes. Each statement finds its rows by an index: where nothing has expired it reads nothing.
extension SQLiteStore {
    public func deleteExpired(_ rows: ExpiredRows, limit: Int) async throws(StoreError) -> ExpiredCount {
        switch rows {
        case .sessions(let moment):
            try await delete("user_sessions", "queue_id, ticket", by: "ended_at", "idx_user_sessions_ended", before: moment, limit)
        case .receipts(let moment):
            try await delete("receipts", "tenant_id, key", by: "created_at", "idx_receipts_created", before: moment, limit)
        case .announcements(let moment):
            try await delete("announcements", "queue_id, seq", by: "expires_at", "idx_announcements_expires", before: moment, limit)
        case .consumers(let moment):
            try await delete("consumers", "queue_id, name, key_id", by: "confirmed_at", "idx_consumers_confirmed", before: moment, limit)
        case .marks(let moment): try await delete("marks", "tenant_id, at, id", by: "at", "idx_marks_at", before: moment, limit)
        case .log(let age): try await pruneLogs(age, limit)
        case .deletedQueues(let moment, let now): try await deleteQueues(before: moment, now: now, limit)
        }
    }

    private func delete(
        _ table: String, _ key: String, by column: String, _ index: String, before moment: Timestamp, _ limit: Int
    ) async throws(StoreError) -> ExpiredCount {
        let sql = SQLiteStore.deletion(table, key, by: column, index)
        let deleted = try await writing { db in
            try db.cachedStatement(sql: sql).execute(arguments: [moment.microseconds, limit])
            return db.changesCount
        }
        return ExpiredCount(deleted: deleted, hasMore: deleted >= limit)
    }

    static func deletion(_ table: String, _ key: String, by column: String, _ index: String) -> String {
        """
        DELETE FROM \(table) WHERE (\(key)) IN (
            SELECT \(key) FROM \(table) INDEXED BY \(index) WHERE \(column) < ? ORDER BY \(column) LIMIT ?)
        """
    }

    // MARK: Logs

    private static let queuesAtOnce = 20

    private func pruneLogs(_ age: ExpiredRows.LogAge, _ limit: Int) async throws(StoreError) -> ExpiredCount {
        try await writing { db in
            let due = try Data.fetchAll(
                db, sql: "SELECT id FROM queues WHERE is_active AND log_since < ? ORDER BY log_since LIMIT ?",
                arguments: [age.before.microseconds, SQLiteStore.queuesAtOnce])
            var deleted = 0
            for queue in due where deleted < limit {
                let left = limit - deleted
                let count = try SQLiteStore.deleteOldEntries(of: queue, age, left, db)
                deleted += count
                if count < left { try SQLiteStore.notePruned(queue, age, db) }
            }
            return ExpiredCount(deleted: deleted, hasMore: !due.isEmpty)
        }
    }

    /// The last entry stays, and what a reader with a name has not confirmed, unless it has not been seen for long.
    private static func deleteOldEntries(of queue: Data, _ age: ExpiredRows.LogAge, _ limit: Int, _ db: Database) throws -> Int {
        try db.execute(
            sql: """
                DELETE FROM log WHERE queue_id = ?1 AND seq <= min(
                    coalesce((SELECT max(seq) FROM (SELECT seq, at FROM log WHERE queue_id = ?1 ORDER BY seq LIMIT ?4)
                        WHERE at < ?2), 0),
                    (SELECT head - 1 FROM queues WHERE id = ?1),
                    coalesce((SELECT min(seq) FROM consumers WHERE queue_id = ?1 AND confirmed_at > ?3), 9223372036854775807))
                """, arguments: [queue, age.before.microseconds, age.unseenSince.microseconds, limit])
        return db.changesCount
    }

    /// Deletes announcements that are older than the log, and notes when the log can next be pruned: when its oldest entry
    /// is old enough, next time where a reader holds it, and after a whole period where it is the last one.
    private static func notePruned(_ queue: Data, _ age: ExpiredRows.LogAge, _ db: Database) throws {
        try db.execute(
            sql: """
                DELETE FROM announcements WHERE queue_id = ?1
                    AND seq < (SELECT seq FROM log WHERE queue_id = ?1 ORDER BY seq LIMIT 1)
                    AND seq < (SELECT seq FROM announcements WHERE queue_id = ?1 ORDER BY seq DESC LIMIT 1 OFFSET ?2)
                """, arguments: [queue, ExpiredRows.announcementsKept - 1])
        try db.execute(
            sql: """
                UPDATE queues SET log_since = coalesce((
                    SELECT CASE WHEN l.seq < queues.head THEN max(l.at, ?2) ELSE ?3 END
                    FROM log l WHERE l.queue_id = ?1 ORDER BY l.seq LIMIT 1), ?3)
                WHERE id = ?1
                """, arguments: [queue, age.before.microseconds, age.now.microseconds])
    }

    // MARK: Deleted queues

    private func deleteQueues(before moment: Timestamp, now: Timestamp, _ limit: Int) async throws(StoreError) -> ExpiredCount {
        try await writing { db in
            try db.execute(
                sql: "UPDATE queues SET deleted_at = ? WHERE NOT is_active AND deleted_at IS NULL", arguments: [now.microseconds])
            let due = try Data.fetchOne(
                db, sql: "SELECT id FROM queues WHERE NOT is_active AND deleted_at < ? ORDER BY deleted_at LIMIT 1",
                arguments: [moment.microseconds])
            guard let queue = due else { return ExpiredCount(deleted: 0, hasMore: false) }
            var deleted = 0
            for (table, key) in [("log", "seq"), ("user_sessions", "ticket"), ("announcements", "seq"), ("consumers", "name")]
            where deleted < limit {
                try db.execute(
                    sql: """
                        DELETE FROM \(table) WHERE queue_id = ?1 AND \(key) IN (
                            SELECT \(key) FROM \(table) WHERE queue_id = ?1 ORDER BY \(key) LIMIT ?2)
                        """, arguments: [queue, limit - deleted])
                deleted += db.changesCount
            }
            // The row goes last, when nothing refers to it any more.
            if deleted < limit {
                try db.execute(sql: "DELETE FROM queues WHERE id = ? AND NOT is_active", arguments: [queue])
                deleted += db.changesCount
            }
            return ExpiredCount(deleted: deleted, hasMore: true)
        }
    }
}
