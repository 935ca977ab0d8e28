import Foundation
import GRDB
import QueueEngine
public import QueueService

/// Lists of sessions, which read about a page whatever they are filtered by, and however many sessions have ended.
extension SQLiteStore {
    public func sessions(
        tenant: TenantID, queue: QueueID?, status: SessionStatus?, after cursor: String?, limit: Int
    ) async throws(StoreError) -> Page<SessionRecord> {
        let list = SessionList(
            tenant: tenant.data, queue: queue?.data, status: status, after: cursor.flatMap { SessionID($0) }?.data ?? Data(),
            limit: limit + 1)
        return try await lists.pass { () throws(StoreError) in
            try await reading { db in
                let sessions = try list.read(db)
                let items = Array(sessions.prefix(limit))
                return Page(items: items, next: sessions.count > limit ? items.last?.id.description : nil)
            }
        }
    }
}

/// Each status has its own stretch of an index, and of each the first ids are read.
///
/// A session that was sent away waits, by its row, until `endClosed` has written it. Those are looked for only in queues
/// where something is left to be written.
struct SessionList {
    let tenant: Data
    let queue: Data?
    let status: SessionStatus?
    let after: Data
    let limit: Int

    func read(_ db: Database) throws -> [SessionRecord] {
        var ids: [Data] = []
        for (sql, arguments) in statements { ids += try Data.fetchAll(db.cachedStatement(sql: sql), arguments: arguments) }
        let session = try db.cachedStatement(sql: "SELECT \(SQLiteStore.sessionColumns) FROM sessions WHERE id = ? AND tenant_id = ?")
        return try ids.sorted { $0.lexicographicallyPrecedes($1) }.prefix(limit).compactMap { id in
            try SQLiteStore.session(session, [id, tenant])
        }
    }

    /// What finds the ids.
    var statements: [(sql: String, arguments: StatementArguments)] {
        let stretches = (status.map { [$0] } ?? SessionStatus.allCases).map { stored in
            let (owner, index, id) =
                queue.map { ("queue_id", "idx_user_sessions_queue_status", $0) } ?? ("tenant_id", "idx_user_sessions_tenant_status", tenant)
            // With all statuses those who were sent away are found here, too, and shown as what they are.
            let stillWaits =
                status == .waiting
                ? "AND NOT coalesce(coalesce(presence_seq, 0) < (SELECT closed_seq FROM queues q WHERE q.id = user_sessions.queue_id), 0)"
                : ""
            let sql = """
                SELECT id FROM user_sessions INDEXED BY \(index)
                WHERE \(owner) = ? AND status = ? AND id > ? \(stillWaits) ORDER BY id LIMIT ?
                """
            return (sql, [id, stored.rawValue, after, limit] as StatementArguments)
        }
        return stretches + (status == .expired ? [sentAway] : [])
    }

    private var sentAway: (sql: String, arguments: StatementArguments) {
        let queues = """
            SELECT id FROM queues INDEXED BY idx_queues_closing
            WHERE tenant_id = ?1 AND (?2 IS NULL OR id = ?2) AND closed_seq > coalesce(closed_written, 0)
            """
        let sql = """
            SELECT w.id FROM (\(queues)) c CROSS JOIN queues q CROSS JOIN user_sessions w INDEXED BY idx_user_sessions_queue_status
            WHERE q.id = c.id AND w.queue_id = c.id AND w.status = 'waiting' AND w.id > ?3
                AND coalesce(w.presence_seq, 0) < q.closed_seq
            ORDER BY w.id LIMIT ?4
            """
        return (sql, [tenant, queue, after, limit])
    }
}
