import QueueEngine
public import QueueService

/// What retention deletes. Nothing else locks these rows, but for a queue's own, which is written once a log was pruned; each
/// statement finds its rows by an index: where nothing has expired it reads nothing.
extension PostgresStore {
    public func deleteExpired(_ rows: ExpiredRows, limit: Int) async throws(StoreError) -> ExpiredCount {
        let limit = Int64(limit)
        switch rows {
        case .sessions(let moment): return try await delete(PostgresStore.sessionsEnded.with(moment).with(limit), limit)
        case .receipts(let moment): return try await delete(PostgresStore.receiptsMade.with(moment).with(limit), limit)
        case .announcements(let moment): return try await delete(PostgresStore.announcementsExpired.with(moment).with(limit), limit)
        case .consumers(let moment): return try await delete(PostgresStore.consumersSilent.with(moment).with(limit), limit)
        case .marks(let moment): return try await delete(PostgresStore.marksMade.with(moment).with(limit), limit)
        case .log(let age): return try await pruneLogs(age, limit)
        case .deletedQueues(let moment, let now): return try await deleteQueues(before: moment, now: now, limit)
        }
    }

    private func delete(_ call: PostgresCall, _ limit: Int64) async throws(StoreError) -> ExpiredCount {
        let deleted = try await writing(call, lane: .lists).changedCount
        return ExpiredCount(deleted: deleted, hasMore: deleted >= limit)
    }

    // By the rows' places: a join of the table with itself might be planned by reading it whole.

    private static let sessionsEnded = PostgresCall(
        """
        DELETE FROM user_sessions WHERE ended_at < $1 AND ctid = ANY (ARRAY(
            SELECT ctid FROM user_sessions WHERE ended_at < $1 ORDER BY ended_at LIMIT $2))
        """)
    private static let receiptsMade = PostgresCall(
        """
        DELETE FROM receipts WHERE created_at < $1 AND ctid = ANY (ARRAY(
            SELECT ctid FROM receipts WHERE created_at < $1 ORDER BY created_at LIMIT $2))
        """)
    private static let announcementsExpired = PostgresCall(
        """
        DELETE FROM announcements WHERE expires_at < $1 AND ctid = ANY (ARRAY(
            SELECT ctid FROM announcements WHERE expires_at < $1 ORDER BY expires_at LIMIT $2))
        """)
    private static let consumersSilent = PostgresCall(
        """
        DELETE FROM consumers WHERE confirmed_at < $1 AND ctid = ANY (ARRAY(
            SELECT ctid FROM consumers WHERE confirmed_at < $1 ORDER BY confirmed_at LIMIT $2))
        """)
    private static let marksMade = PostgresCall(
        "DELETE FROM marks WHERE at < $1 AND ctid = ANY (ARRAY(SELECT ctid FROM marks WHERE at < $1 ORDER BY at LIMIT $2))")

    // MARK: Logs

    private static let queuesAtOnce: Int64 = 20

    private func pruneLogs(_ age: ExpiredRows.LogAge, _ limit: Int64) async throws(StoreError) -> ExpiredCount {
        let due = try await reading(
            [
                PostgresCall("SELECT id FROM queues WHERE is_active AND log_since < $1 ORDER BY log_since LIMIT $2").with(age.before)
                    .with(PostgresStore.queuesAtOnce)
            ], lane: .lists)[0].rows
        var deleted = 0
        for row in due where deleted < limit {
            let queue: QueueID = try row.get(0)
            let left = limit - Int64(deleted)
            let count = try await writing(PostgresStore.oldEntries(of: queue, age, left), lane: .lists).changedCount
            deleted += count
            if count < left { try await notePruned(queue, age) }
        }
        return ExpiredCount(deleted: deleted, hasMore: !due.isEmpty)
    }

    /// The last entry stays, and what a reader with a name has not confirmed, unless it has not been seen for long.
    private static func oldEntries(of queue: QueueID, _ age: ExpiredRows.LogAge, _ limit: Int64) -> PostgresCall {
        PostgresCall(
            """
            DELETE FROM log WHERE queue_id = $1 AND seq <= least(
                coalesce((SELECT max(seq) FROM (SELECT seq, at FROM log WHERE queue_id = $1 ORDER BY seq LIMIT $4) l
                    WHERE at < $2), 0),
                (SELECT head - 1 FROM queues WHERE id = $1),
                (SELECT min(seq) FROM consumers WHERE queue_id = $1 AND confirmed_at > $3))
            """
        ).with(queue).with(age.before).with(age.unseenSince).with(limit)
    }

    /// Deletes announcements that are older than the log, and notes when the log can next be pruned: when its oldest entry
    /// is old enough, next time where a reader holds it, and after a whole period where it is the last one.
    private func notePruned(_ queue: QueueID, _ age: ExpiredRows.LogAge) async throws(StoreError) {
        let announcements = PostgresCall(
            """
            DELETE FROM announcements WHERE queue_id = $1
                AND seq < (SELECT seq FROM log WHERE queue_id = $1 ORDER BY seq LIMIT 1)
                AND seq < (SELECT seq FROM announcements WHERE queue_id = $1 ORDER BY seq DESC LIMIT 1 OFFSET $2)
            """
        ).with(queue).with(Int64(ExpiredRows.announcementsKept - 1))
        let since = PostgresCall(
            """
            UPDATE queues SET log_since = coalesce((
                SELECT CASE WHEN l.seq < queues.head THEN greatest(l.at, $2::timestamptz) ELSE $3::timestamptz END
                FROM log l WHERE l.queue_id = $1 ORDER BY l.seq LIMIT 1), $3::timestamptz)
            WHERE id = $1
            """
        ).with(queue).with(age.before).with(age.now)
        try await writing(announcements, lane: .lists)
        try await writing(since, lane: .lists)
    }

    // MARK: Deleted queues

    private func deleteQueues(before moment: Timestamp, now: Timestamp, _ limit: Int64) async throws(StoreError) -> ExpiredCount {
        try await writing(
            PostgresCall("UPDATE queues SET deleted_at = $1 WHERE NOT is_active AND deleted_at IS NULL").with(now), lane: .lists)
        let due = try await reading(
            [PostgresCall("SELECT id FROM queues WHERE NOT is_active AND deleted_at < $1 ORDER BY deleted_at LIMIT 1").with(moment)],
            lane: .lists)[0].first
        guard let queue = try due?.get(0, as: QueueID.self) else { return ExpiredCount(deleted: 0, hasMore: false) }
        var deleted = 0
        for part in PostgresStore.partsOfQueue where deleted < limit {
            deleted += try await writing(part.with(queue).with(limit - Int64(deleted)), lane: .lists).changedCount
        }
        return ExpiredCount(deleted: deleted, hasMore: true)
    }

    /// The row goes last, when nothing refers to it any more.
    private static let partsOfQueue = [
        PostgresCall(
            """
            DELETE FROM log WHERE queue_id = $1 AND seq <= (SELECT max(seq) FROM (
                SELECT seq FROM log WHERE queue_id = $1 ORDER BY seq LIMIT $2) l)
            """),
        PostgresCall(
            """
            DELETE FROM user_sessions WHERE queue_id = $1 AND ticket <= (SELECT max(ticket) FROM (
                SELECT ticket FROM user_sessions WHERE queue_id = $1 ORDER BY ticket LIMIT $2) s)
            """),
        PostgresCall(
            """
            DELETE FROM announcements WHERE queue_id = $1 AND seq <= (SELECT max(seq) FROM (
                SELECT seq FROM announcements WHERE queue_id = $1 ORDER BY seq LIMIT $2) a)
            """),
        PostgresCall(
            """
            DELETE FROM consumers WHERE queue_id = $1 AND name <= (SELECT max(name) FROM (
                SELECT name FROM consumers WHERE queue_id = $1 ORDER BY name LIMIT $2) c)
            """),
        PostgresCall(
            """
            DELETE FROM queues WHERE id = $1 AND NOT is_active AND $2::bigint > 0
                AND NOT EXISTS (SELECT FROM log WHERE queue_id = $1) AND NOT EXISTS (SELECT FROM user_sessions WHERE queue_id = $1)
            """),
    ]
}
