import Foundation
import GRDB
import QueueEngine
public import QueueService

extension SQLiteStore {
    public func session(_ id: SessionID) async throws(StoreError) -> SessionRecord? {
        try await reading { db in
            let statement = try db.cachedStatement(sql: "SELECT \(SQLiteStore.sessionColumns) FROM sessions WHERE id = ?")
            return try SQLiteStore.session(statement, [id.data])
        }
    }

    public func currentSession(user: String, queue: QueueID, joining: Bool) async throws(StoreError) -> SessionRecord? {
        guard !user.hasNUL else { throw .rejected("a name holds a NUL character") }
        return try await reading { db in
            let statement = try db.cachedStatement(
                sql: """
                    SELECT \(SQLiteStore.sessionColumns) FROM sessions WHERE id = (SELECT id FROM user_sessions
                        WHERE queue_id = ? AND user = ? AND status IN ('waiting', 'admitted')) AND status IN ('waiting', 'admitted')
                    """)
            return try SQLiteStore.session(statement, [queue.data, user])
        }
    }

    /// What `session` reads, in this order: to find a column by its name costs more than to read it.
    static let sessionColumns = """
        id, tenant_id, queue_id, ticket, user, label, display_name, metadata, status, end_reason, created_at, admitted_at, expires_at, \
        ended_at
        """

    /// The first that a statement finds, which selects `sessionColumns`.
    static func session(_ statement: Statement, _ arguments: StatementArguments) throws -> SessionRecord? {
        let rows = try Row.fetchCursor(statement, arguments: arguments)
        // A row is read from the statement, which the end of the cursor resets.
        return try withExtendedLifetime(rows) { try rows.next().map(session) }
    }

    private static func session(_ row: Row) throws -> SessionRecord {
        guard let id = SessionID(bytes: row[0] as Data), let tenant = TenantID(bytes: row[1] as Data),
            let queue = QueueID(bytes: row[2] as Data), let status = SessionStatus(rawValue: row[8])
        else { throw StoreError.corrupt("a session's row") }
        func moment(_ column: Int) -> Timestamp? { (row[column] as Int64?).map { Timestamp(microseconds: $0) } }
        return SessionRecord(
            id: id, tenant: tenant, queue: queue, ticket: Ticket(rawValue: try SQLiteStore.number(row[3])),
            visitor: Visitor(user: row[4], label: row[5], displayName: row[6], metadata: row[7]), status: status, endReason: row[9],
            createdAt: Timestamp(microseconds: row[10]), admittedAt: moment(11), expiresAt: moment(12), endedAt: moment(13))
    }
}
