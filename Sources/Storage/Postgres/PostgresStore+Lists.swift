import QueueEngine
public import QueueService

/// Lists of sessions, which read about a page whatever they are filtered by, and however many sessions have ended.
extension PostgresStore {
    public func sessions(
        tenant: TenantID, queue: QueueID?, status: SessionStatus?, after cursor: String?, limit: Int
    ) async throws(StoreError) -> Page<SessionRecord> {
        let after = cursor.flatMap { SessionID($0) } ?? SessionID(high: 0, low: 0)
        let rows = try await list(PostgresStore.sessionsCall(tenant, queue, status, after: after, limit: limit + 1))
        let items = try rows.prefix(limit).map(PostgresStore.session)
        return Page(items: items, next: rows.count > limit ? items.last?.id.description : nil)
    }

    /// Parameters: owner, cursor, statuses of rows, limit, whether sessions that were sent away are left out of those that
    /// wait, whether they are added, and the tenant.
    static func sessionsCall(
        _ tenant: TenantID, _ queue: QueueID?, _ status: SessionStatus?, after: SessionID, limit: Int
    ) -> PostgresCall {
        var statuses = PostgresColumn<String>()
        for one in status.map({ [$0] }) ?? SessionStatus.allCases { statuses.append(one.rawValue) }
        let call = queue.map { PostgresCall(sessionsOfQueue).with($0) } ?? PostgresCall(sessionsOfTenant).with(tenant)
        return call.with(after).with(statuses).with(Int64(limit)).with(status == .waiting).with(status == .expired).with(tenant)
    }

    /// Each status has its own stretch of an index, and of each the first rows are read. With an equality the planner might
    /// walk the index on ids and filter: rows are compared, and ordered, by status and id, as in one index only.
    ///
    /// A session that was sent away waits, by its row, until `endClosed` has written it. Those are looked for only in
    /// queues where something is left to be written.
    private static let sessionsOfTenant: StaticString = """
        WITH found AS MATERIALIZED (
            SELECT s.id FROM unnest($3::text[]) AS wanted (status) CROSS JOIN LATERAL (
                SELECT w.id FROM user_sessions w
                WHERE w.tenant_id = $1::uuid AND (w.status, w.id) > (wanted.status, $2::uuid)
                    AND (w.status, w.id) <= (wanted.status, 'ffffffff-ffff-ffff-ffff-ffffffffffff'::uuid)
                    AND (NOT $5::bool OR NOT coalesce(
                        (SELECT coalesce(w.presence_seq, 0) < c.closed_seq FROM queues c WHERE c.id = w.queue_id), false))
                ORDER BY w.status, w.id LIMIT $4::bigint) s
            UNION ALL
            SELECT s.id FROM queues q CROSS JOIN LATERAL (
                SELECT w.id FROM user_sessions w
                WHERE w.queue_id = q.id AND (w.status, w.id) > ('waiting', $2::uuid)
                    AND (w.status, w.id) <= ('waiting', 'ffffffff-ffff-ffff-ffff-ffffffffffff'::uuid)
                    AND coalesce(w.presence_seq, 0) < q.closed_seq
                ORDER BY w.status, w.id LIMIT $4::bigint) s
            WHERE $6::bool AND q.tenant_id = $7::uuid AND q.closed_seq > coalesce(q.closed_written, 0)
        ), page AS MATERIALIZED (SELECT id FROM found ORDER BY id LIMIT $4::bigint)
        SELECT s.id, s.tenant_id, s.queue_id, s.ticket, s.user_id, s.label, s.display_name, s.metadata, s.status, s.end_reason,
            s.created_at, s.admitted_at, s.expires_at, s.ended_at
        FROM page p CROSS JOIN LATERAL (SELECT * FROM sessions WHERE id = p.id LIMIT 1) s
        WHERE s.tenant_id = $7::uuid ORDER BY s.id
        """

    private static let sessionsOfQueue: StaticString = """
        WITH found AS MATERIALIZED (
            SELECT s.id FROM unnest($3::text[]) AS wanted (status) CROSS JOIN LATERAL (
                SELECT w.id FROM user_sessions w
                WHERE w.queue_id = $1::uuid AND (w.status, w.id) > (wanted.status, $2::uuid)
                    AND (w.status, w.id) <= (wanted.status, 'ffffffff-ffff-ffff-ffff-ffffffffffff'::uuid)
                    AND (NOT $5::bool OR NOT coalesce(
                        (SELECT coalesce(w.presence_seq, 0) < c.closed_seq FROM queues c WHERE c.id = w.queue_id), false))
                ORDER BY w.status, w.id LIMIT $4::bigint) s
            UNION ALL
            SELECT s.id FROM queues q CROSS JOIN LATERAL (
                SELECT w.id FROM user_sessions w
                WHERE w.queue_id = q.id AND (w.status, w.id) > ('waiting', $2::uuid)
                    AND (w.status, w.id) <= ('waiting', 'ffffffff-ffff-ffff-ffff-ffffffffffff'::uuid)
                    AND coalesce(w.presence_seq, 0) < q.closed_seq
                ORDER BY w.status, w.id LIMIT $4::bigint) s
            WHERE $6::bool AND q.id = $1::uuid AND q.closed_seq > coalesce(q.closed_written, 0)
        ), page AS MATERIALIZED (SELECT id FROM found ORDER BY id LIMIT $4::bigint)
        SELECT s.id, s.tenant_id, s.queue_id, s.ticket, s.user_id, s.label, s.display_name, s.metadata, s.status, s.end_reason,
            s.created_at, s.admitted_at, s.expires_at, s.ended_at
        FROM page p CROSS JOIN LATERAL (SELECT * FROM sessions WHERE id = p.id LIMIT 1) s
        WHERE s.tenant_id = $7::uuid ORDER BY s.id
        """
}
