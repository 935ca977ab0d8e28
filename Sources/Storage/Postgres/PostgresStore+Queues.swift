public import QueueEngine
public import QueueService

extension PostgresStore {
    public func wakingQueues(after point: WakePoint, through end: Timestamp, limit: Int) async throws(StoreError) -> [WakePoint] {
        try await rows(
            PostgresCall(
                """
                SELECT wake_at, id FROM queues WHERE is_active AND wake_at IS NOT NULL AND wake_at <= $1
                    AND (wake_at, id) > ($2::timestamptz, $3::uuid) ORDER BY wake_at, id LIMIT $4
                """
            ).with(end).with(point.at).with(point.queue).with(Int64(limit)), lane: .commits
        ).map { row throws(StoreError) in WakePoint(at: try row.get(0), queue: try row.get(1)) }
    }

    public func queues(of tenant: TenantID, after cursor: QueueID?, limit: Int) async throws(StoreError) -> [StoredQueue] {
        try await rows(
            PostgresCall(
                """
                SELECT id, tenant_id, epoch, slug, name, description, redirect_url, configuration::text, created_at,
                    status, head, last_event_at, counters::text, unseen_at, is_occupied, history, (SELECT id FROM store_history) AS current_history
                FROM queues WHERE tenant_id = $1 AND id > $2 AND is_active ORDER BY id LIMIT $3
                """
            ).with(tenant).with(cursor ?? QueueID(high: 0, low: 0)).with(Int64(limit))
        ).map(PostgresStore.queue)
    }

    public func queue(slug: String) async throws(StoreError) -> QueueID? {
        try await row(PostgresCall("SELECT id FROM queues WHERE slug = $1 AND is_active").with(slug)).map { row throws(StoreError) in
            try row.get(0)
        }
    }

    /// Status and id are compared together, as they stand in one index only: by a plain condition on the status a plan that was
    /// made while the tables were empty might read every session that has ever been in the queue.
    ///
    /// The row, the line and what has moved lately, all as of one head.
    public func loadQueue(_ queue: QueueID) async throws(StoreError) -> StoredQueue? { try await loadQueue(queue, lane: .lookups) }

    public func loadServedQueue(_ queue: QueueID) async throws(StoreError) -> StoredQueue? { try await loadQueue(queue, lane: .commits) }

    private func loadQueue(_ queue: QueueID, lane: PostgresLane) async throws(StoreError) -> StoredQueue? {
        do throws(StoreError) { return try await loadRows(of: queue, lane) } catch {
            // Nothing but the rows can be what does not fit into a statement that only reads.
            if case .rejected(let reason) = error { throw .corrupt(reason) }
            throw error
        }
    }

    private func loadRows(of queue: QueueID, _ lane: PostgresLane) async throws(StoreError) -> StoredQueue? {
        let results = try await reading(
            [
                PostgresCall("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"),
                PostgresCall(
                    """
                    SELECT id, tenant_id, epoch, slug, name, description, redirect_url, configuration::text, created_at,
                        status, head, last_event_at, counters::text, unseen_at, is_occupied, history, (SELECT id FROM store_history) AS current_history
                    FROM queues WHERE id = $1 AND is_active
                    """
                ).with(queue),
                PostgresCall(
                    """
                    SELECT s.ticket, coalesce(s.absent_since, CASE WHEN s.presence_seq > q.unseen_seq THEN NULL ELSE q.unseen_at END)
                    FROM user_sessions s, queues q WHERE q.id = $1 AND s.queue_id = $1
                        AND (s.status, s.id) >= ('waiting', '00000000-0000-0000-0000-000000000000'::uuid)
                        AND (s.status, s.id) <= ('waiting', 'ffffffff-ffff-ffff-ffff-ffffffffffff'::uuid)
                        AND (q.closed_seq IS NULL OR s.presence_seq > q.closed_seq)
                    """
                ).with(queue),
                PostgresCall(
                    """
                    SELECT ticket, expires_at FROM user_sessions WHERE queue_id = $1
                        AND (status, id) >= ('admitted', '00000000-0000-0000-0000-000000000000'::uuid)
                        AND (status, id) <= ('admitted', 'ffffffff-ffff-ffff-ffff-ffffffffffff'::uuid)
                    """
                ).with(queue),
                PostgresStore.history.with(queue).with(QueueImage.history.microseconds),
                PostgresCall("COMMIT"),
            ], seconds: settings.statementSeconds + 3, lane: lane)
        guard let row = results[1].first else { return nil }
        let queue = try PostgresStore.queue(row)
        var image = queue.image
        image.waiting.reserveCapacity(results[2].count)
        for row in results[2].rows { image.waiting.append((try row.ticket(0), try row.optional(1))) }
        for row in results[3].rows { image.admitted.append((try row.ticket(0), try row.get(1))) }
        for row in results[4].rows { try PostgresStore.remember(row, &image) }
        return StoredQueue(record: queue.record, image: image, isOccupied: queue.isOccupied)
    }

    /// The queue as its row alone tells it.
    private static func queue(_ row: PostgresRow) throws(StoreError) -> StoredQueue {
        let record = try PostgresStore.record(row)
        guard let status = QueueStatus(rawValue: try row.get(9)), let counters = JSON.decode(QueueCounters.self, try row.get(12)) else {
            throw .corrupt("a queue's row")
        }
        var image = QueueImage(
            configuration: record.configuration, status: status, head: try row.number(10),
            lastEventAt: try row.get(11), counters: counters)
        image.unseenSince = try row.optional(13)
        return StoredQueue(record: record, image: image, isOccupied: try row.get(14))
    }

    /// The end of the log that is younger than a span. Its times never run backwards, so where that begins is found by
    /// halving, and no index over times is needed.
    private static let history = PostgresCall(
        """
        WITH RECURSIVE recent AS (
            SELECT head, last_event_at - $2::bigint * interval '1 microsecond' AS since FROM queues WHERE id = $1
        ), search (low, high) AS (
            SELECT (SELECT seq FROM log WHERE queue_id = $1 ORDER BY seq LIMIT 1) - 1, head + 1 FROM recent
            UNION ALL
            SELECT CASE WHEN is_older THEN middle ELSE low END, CASE WHEN is_older THEN high ELSE middle END
            FROM search, recent, LATERAL (SELECT (low + high) / 2 AS middle) m,
                LATERAL (SELECT (SELECT at FROM log WHERE queue_id = $1 AND seq = middle) < since AS is_older) o
            WHERE high - low > 1
        )
        SELECT log.at, log.type, s.admitted_at FROM log
        LEFT JOIN LATERAL (SELECT admitted_at FROM user_sessions WHERE queue_id = log.queue_id AND ticket = log.ticket LIMIT 1) s ON true
        WHERE log.queue_id = $1 AND log.seq > (SELECT max(low) FROM search)
            AND log.type IN ('admitted', 'completed', 'left', 'expired')
        """)

    private static func remember(_ row: PostgresRow, _ image: inout QueueImage) throws(StoreError) {
        let moment: Timestamp = try row.get(0)
        let wasAdmitted = try row.optional(2, as: Timestamp.self) != nil
        switch try row.get(1, as: String.self) {
        case "admitted": image.admissions.append(moment)
        case "completed": image.turnovers.append(moment)
        default: if wasAdmitted { image.turnovers.append(moment) } else { image.departures.append(moment) }
        }
    }

    private static func record(_ row: PostgresRow) throws(StoreError) -> QueueRecord {
        guard let configuration = JSON.decode(QueueConfiguration.self, try row.get(7)) else { throw .corrupt("a queue's row") }
        return QueueRecord(
            id: try row.get(0), tenant: try row.get(1), epoch: try epoch(row.get(2), row.get(15), row.get(16)), slug: try row.get(3),
            name: try row.get(4), description: try row.get(5), redirectURL: try row.optional(6), configuration: configuration,
            createdAt: try row.get(8))
    }

    /// A queue's epoch, from its own columns and the history that the store tells.
    private static func epoch(_ first: Int64, _ history: Int64, _ told: Int64) -> UInt64 {
        QueueRecord.epoch(
            UInt64(bitPattern: first), madeIn: UInt64(bitPattern: history), current: UInt64(bitPattern: told))
    }

    public func deleteQueue(_ queue: QueueID, tenant: TenantID, at seq: UInt64) async throws(StoreError) -> Bool {
        try await writing(
            PostgresCall("UPDATE queues SET is_active = false WHERE id = $1 AND tenant_id = $2 AND head = $3").with(queue).with(tenant)
                .with(Int64(clamping: seq))
        ).changedCount == 1
    }

    public func closingQueues(limit: Int) async throws(StoreError) -> [QueueID] {
        let call = PostgresCall("SELECT id FROM queues WHERE closed_seq > coalesce(closed_written, 0) LIMIT $1").with(Int64(limit))
        return try await rows(call).map { row throws(StoreError) in try row.get(0) }
    }

    public func deletedLog(of queue: QueueID, tenant: TenantID) async throws(StoreError) -> DeletedLog? {
        let call = PostgresCall(
            """
            SELECT epoch, history, (SELECT id FROM store_history) AS current_history, head,
                (SELECT seq FROM log WHERE queue_id = q.id ORDER BY seq LIMIT 1)
            FROM queues q WHERE id = $1 AND tenant_id = $2 AND NOT is_active
            """
        ).with(queue).with(tenant)
        guard let row = try await row(call) else { return nil }
        let head = try row.number(3)
        return DeletedLog(
            epoch: try PostgresStore.epoch(row.get(0), row.get(1), row.get(2)),
            first: try row.optional(4, as: Int64.self).map { UInt64(clamping: $0) } ?? head + 1, head: head)
    }

    public func entries(of queue: QueueID, after seq: UInt64, limit: Int) async throws(StoreError) -> [LogEntry] {
        try await rows(PostgresStore.entriesCall(of: queue, after: seq, limit: limit)).map(PostgresStore.entry)
    }

    public func missedEntries(of queue: QueueID, after seq: UInt64, limit: Int) async throws(StoreError) -> [LogEntry] {
        try await rows(PostgresStore.entriesCall(of: queue, after: seq, limit: limit), lane: .commits).map(PostgresStore.entry)
    }

    static func entriesCall(of queue: QueueID, after seq: UInt64, limit: Int) -> PostgresCall {
        PostgresCall(
            """
            SELECT log.seq, log.at, log.type, log.ticket, log.data, s.id, s.user_id,
                a.text, a.severity, a.published_at, a.expires_at
            FROM log
            LEFT JOIN LATERAL (SELECT id, user_id FROM user_sessions
                WHERE queue_id = log.queue_id AND ticket = log.ticket LIMIT 1) s ON true
            LEFT JOIN LATERAL (SELECT text, severity, published_at, expires_at FROM announcements
                WHERE queue_id = log.queue_id AND seq = log.seq LIMIT 1) a ON true
            WHERE log.queue_id = $1 AND log.seq > $2 ORDER BY log.seq LIMIT $3
            """
        ).with(queue).with(Int64(clamping: seq)).with(Int64(limit))
    }

    static func entry(_ row: PostgresRow) throws(StoreError) -> LogEntry {
        let ticket = try row.optional(3, as: Int64.self).map { Ticket(rawValue: UInt64(bitPattern: $0)) }
        guard let change = StoredChange(type: try row.get(2), ticket: ticket, data: try row.optional(4)).change else {
            throw .corrupt("an entry of the log")
        }
        let seq = try row.number(0)
        return LogEntry(
            event: QueueEvent(seq: seq, at: try row.get(1), change: change), session: try row.optional(5), user: try row.optional(6),
            announcement: try row.optional(7, as: String.self) == nil ? nil : try announcement(row, seq, from: 7))
    }

    public func logBounds(of queue: QueueID) async throws(StoreError) -> ClosedRange<UInt64>? {
        let row = try await row(
            PostgresCall(
                """
                SELECT (SELECT seq FROM log WHERE queue_id = $1 ORDER BY seq LIMIT 1),
                    (SELECT seq FROM log WHERE queue_id = $1 ORDER BY seq DESC LIMIT 1)
                """
            ).with(queue))
        guard let first = try row?.optional(0, as: Int64.self), let last = try row?.optional(1, as: Int64.self) else { return nil }
        return UInt64(clamping: first)...UInt64(clamping: last)
    }

    public func confirm(_ position: ConsumerPosition, limit: Int) async throws(StoreError) {
        try await writing(
            PostgresCall(
                """
                WITH surplus AS (
                    DELETE FROM consumers WHERE queue_id = $1::uuid AND key_id = $2::uuid AND name IN (
                        SELECT name FROM consumers WHERE queue_id = $1::uuid AND key_id = $2::uuid AND name <> $3::text
                        ORDER BY confirmed_at DESC OFFSET $7::bigint))
                INSERT INTO consumers (queue_id, key_id, name, tenant_id, seq, confirmed_at)
                VALUES ($1::uuid, $2::uuid, $3::text, $4::uuid, $5::bigint, clock_timestamp())
                ON CONFLICT (queue_id, name, key_id) DO UPDATE SET seq = excluded.seq, confirmed_at = excluded.confirmed_at WHERE $6::boolean
                """
            ).with(position.queue).with(position.key).with(position.name).with(position.tenant).with(Int64(clamping: position.seq))
                .with(position.isExplicit).with(Int64(limit - 1)))
    }

    /// Found by the index that the line is read by, out of which falls what is written here, and written by the ticket: a
    /// plain condition on the status would lead the second through all who wait, too (see `AppendStatement`).
    ///
    /// That nothing is left is written by a call that has found nothing: one that holds sessions' rows must not ask for
    /// their queue's, which appends lock first. One that has found only what another call was just writing has found something.
    public func endClosed(_ queue: QueueID, limit: Int) async throws(StoreError) -> Int {
        let ended = try await writing(
            PostgresCall(
                """
                WITH found AS MATERIALIZED (
                    SELECT w.ticket FROM user_sessions w, queues c WHERE c.id = $1 AND w.queue_id = $1 AND w.status = 'waiting'
                        AND c.closed_seq IS NOT NULL AND coalesce(w.presence_seq, 0) < c.closed_seq LIMIT $2
                ), ended AS (
                    UPDATE user_sessions s
                    SET status = 'expired', end_reason = 'closed', absent_since = NULL, ended_at = q.closed_at
                    FROM queues q WHERE q.id = $1 AND s.queue_id = $1 AND s.ticket = ANY (ARRAY(SELECT ticket FROM found))
                        AND s.status IS NOT DISTINCT FROM 'waiting'
                ), written AS (
                    UPDATE queues q SET closed_written = seen.closed_seq FROM (SELECT closed_seq FROM queues WHERE id = $1) seen
                    WHERE q.id = $1 AND seen.closed_seq > coalesce(q.closed_written, 0) AND NOT EXISTS (SELECT FROM found)
                )
                SELECT count(*) FROM found
                """
            ).with(queue).with(Int64(limit)))
        return Int(try ended.first?.get(0, as: Int64.self) ?? 0)
    }

    public func averageWaits(of queues: [QueueID], last: Int) async throws(StoreError) -> [QueueID: Double] {
        var ids = PostgresColumn<QueueID>()
        for queue in queues { ids.append(queue) }
        let rows = try await rows(
            PostgresCall(
                """
                SELECT q.id, (
                    SELECT avg((SELECT extract(epoch FROM admitted_at - created_at) FROM user_sessions
                        WHERE queue_id = l.queue_id AND ticket = l.ticket))::float8
                    FROM (
                        SELECT queue_id, ticket FROM log WHERE queue_id = q.id AND type = 'admitted' AND seq > q.head - $3
                        ORDER BY seq DESC LIMIT $2) l)
                FROM queues q WHERE q.id = ANY ($1)
                """
            ).with(ids).with(Int64(last)).with(Int64(20 * last)))
        var waits: [QueueID: Double] = [:]
        for row in rows { waits[try row.get(0)] = try row.optional(1, as: Double.self) }
        return waits
    }

    public func announcements(of queue: QueueID, at now: Timestamp, limit: Int) async throws(StoreError) -> [Announcement] {
        try await rows(
            PostgresCall(
                """
                SELECT seq, text, severity, published_at, expires_at FROM announcements
                WHERE queue_id = $1 AND (expires_at IS NULL OR expires_at > $2) ORDER BY seq DESC LIMIT $3
                """
            ).with(queue).with(now).with(Int64(limit))
        ).map { row throws(StoreError) in
            try PostgresStore.announcement(row, row.number(0), from: 1)
        }
    }

    private static func announcement(_ row: PostgresRow, _ seq: UInt64, from column: Int) throws(StoreError) -> Announcement {
        guard let severity = Severity(rawValue: try row.get(column + 1)) else { throw .corrupt("an announcement") }
        return Announcement(
            seq: seq, text: try row.get(column), severity: severity, publishedAt: try row.get(column + 2),
            expiresAt: try row.optional(column + 3))
    }
}
