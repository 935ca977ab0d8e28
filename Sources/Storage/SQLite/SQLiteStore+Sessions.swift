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
        guard !user.hasNUL else { throw .rejected("a name holds a NUL character") }
        return try await reading { db in
            let statement = try db.cachedStatement(
                sql: """
                    SELECT * FROM sessions WHERE id = (SELECT id FROM user_sessions
                        WHERE queue_id = ? AND user = ? AND status IN ('waiting', 'admitted')) AND status IN ('waiting', 'admitted')
                    """)
            return try Row.fetchOne(statement, arguments: [queue.data, user]).map(SQLiteStore.session)
        }
    }

    static func session(_ row: Row) throws -> SessionRecord {
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
