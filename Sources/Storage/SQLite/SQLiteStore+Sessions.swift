import Foundation
import GRDB
import QueueEngine
public import QueueService

extension SQLiteStore {
    public func session(_ id: SessionID) async throws(StoreError) -> SessionRecord? {
        try await reading { db in
            let statement = try db.cachedStatement(sql: "SELECT * FROM sessions WHERE id = ?")
            return try Row.fetchOne(statement, arguments: [id.data]).map(SQLiteStore.session)
        }
    }

    public func currentSession(user: String, queue: QueueID) async throws(StoreError) -> SessionRecord? {
        try await reading { db in
            let statement = try db.cachedStatement(
                sql: """
                    SELECT * FROM sessions WHERE id = (SELECT id FROM user_sessions
                        WHERE queue_id = ? AND user = ? AND status IN ('waiting', 'admitted')) AND status IN ('waiting', 'admitted')
                    """)
            return try Row.fetchOne(statement, arguments: [queue.data, user]).map(SQLiteStore.session)
        }
    }

    public func sessions(
        tenant: TenantID, queue: QueueID?, status: SessionStatus?, after cursor: String?, limit: Int
    ) async throws(StoreError) -> Page<SessionRecord> {
        let after = cursor.flatMap { SessionID($0) }
        return try await reading { db in
            var sql = "SELECT * FROM sessions WHERE tenant_id = ? AND id > ?"
            var arguments: StatementArguments = [tenant.data, after?.data ?? Data()]
            if let queue {
                sql += " AND queue_id = ?"
                arguments += [queue.data]
            }
            if let status {
                sql += " AND status = ?"
                arguments += [status.rawValue]
            }
            let rows = try Row.fetchAll(db, sql: sql + " ORDER BY id LIMIT ?", arguments: arguments + [limit + 1])
            let items = try rows.prefix(limit).map(SQLiteStore.session)
            return Page(items: items, next: rows.count > limit ? items.last?.id.description : nil)
        }
    }

    private static func session(_ row: Row) throws -> SessionRecord {
        guard let id = SessionID(bytes: row["id"] as Data), let tenant = TenantID(bytes: row["tenant_id"] as Data),
            let queue = QueueID(bytes: row["queue_id"] as Data), let status = SessionStatus(rawValue: row["status"])
        else { throw StoreError.corrupt("a session's row") }
        func moment(_ column: String) -> Timestamp? { (row[column] as Int64?).map { Timestamp(microseconds: $0) } }
        return SessionRecord(
            id: id, tenant: tenant, queue: queue, ticket: Ticket(rawValue: UInt64(row["ticket"] as Int64)),
            visitor: Visitor(user: row["user"], label: row["label"], displayName: row["display_name"], metadata: row["metadata"]),
            status: status, endReason: row["end_reason"], createdAt: Timestamp(microseconds: row["created_at"]),
            admittedAt: moment("admitted_at"), expiresAt: moment("expires_at"), endedAt: moment("ended_at"))
    }
}
