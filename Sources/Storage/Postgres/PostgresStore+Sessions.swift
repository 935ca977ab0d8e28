import QueueEngine
public import QueueService

extension PostgresStore {
    public func session(_ id: SessionID) async throws(StoreError) -> SessionRecord? {
        try await row(
            PostgresCall(
                """
                SELECT id, tenant_id, queue_id, ticket, user_id, label, display_name, metadata, status, end_reason,
                    created_at, admitted_at, expires_at, ended_at
                FROM sessions WHERE id = $1
                """
            ).with(id)
        ).map(PostgresStore.session)
    }

    public func currentSession(user: String, queue: QueueID, joining: Bool) async throws(StoreError) -> SessionRecord? {
        try await row(
            PostgresCall(
                """
                SELECT id, tenant_id, queue_id, ticket, user_id, label, display_name, metadata, status, end_reason,
                    created_at, admitted_at, expires_at, ended_at
                FROM sessions WHERE id = (SELECT id FROM user_sessions
                    WHERE queue_id = $1 AND user_id = $2 AND status IN ('waiting', 'admitted')) AND status IN ('waiting', 'admitted')
                """
            ).with(queue).with(user), lane: joining ? .joins : .lookups
        ).map(PostgresStore.session)
    }

    static func session(_ row: PostgresRow) throws(StoreError) -> SessionRecord {
        guard let status = SessionStatus(rawValue: try row.get(8)) else { throw .corrupt("a session's row") }
        return SessionRecord(
            id: try row.get(0), tenant: try row.get(1), queue: try row.get(2), ticket: try row.ticket(3),
            visitor: Visitor(
                user: try row.optional(4), label: try row.optional(5), displayName: try row.optional(6), metadata: try row.optional(7)),
            status: status, endReason: try row.optional(9), createdAt: try row.get(10), admittedAt: try row.optional(11),
            expiresAt: try row.optional(12), endedAt: try row.optional(13))
    }
}

extension PostgresRow {
    func ticket(_ column: Int) throws(StoreError) -> Ticket { Ticket(rawValue: UInt64(bitPattern: try get(column, as: Int64.self))) }
}
