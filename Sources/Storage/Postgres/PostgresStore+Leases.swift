public import QueueEngine
public import QueueService

/// Who serves this store. Times are the server's, and asked for where they are compared.
extension PostgresStore {
    private static let startLock: Int64 = 0x5374_616E_6C65_6173  // "Stanleas"

    public func beat(
        _ instance: InstanceID, lease: Timestamp.Span, capacity: Capacity?, after last: Beat.Count, known: [Beat.Head]
    ) async throws(StoreError) -> Beat {
        // Under a lock two that start at once come one after the other, and the second sees the first.
        let first =
            last == .none
            ? [
                PostgresCall("SELECT pg_advisory_xact_lock($1::bigint)").with(PostgresStore.startLock),
                PostgresCall("DELETE FROM heartbeats WHERE at < clock_timestamp() - $1::bigint * interval '1 microsecond'")
                    .with(Beat.Count.kept.microseconds),
            ] : []
        let renewal = PostgresCall(
            """
            WITH clock AS MATERIALIZED (
                SELECT clock_timestamp() AS now
            ), begun AS (
                UPDATE store_history SET id = $6, begun_at = greatest((SELECT now FROM clock), $7::timestamptz + interval '1 microsecond')
                -- What was counted of an instance that has been away for long is deleted, and proves nothing.
                WHERE $5::bigint > coalesce(
                    (SELECT number FROM heartbeats WHERE instance = $1),
                    CASE WHEN $7::timestamptz > (SELECT now FROM clock) - $9::bigint * interval '1 microsecond' THEN 0 ELSE $5::bigint END
                ) AND (id = $8 OR begun_at <= $7)
            ), counted AS (
                INSERT INTO heartbeats AS h (instance, number, at) SELECT $1, $5::bigint + 1, now FROM clock
                ON CONFLICT (instance) DO UPDATE SET number = greatest(h.number, $5) + 1, at = excluded.at
                RETURNING number
            )
            INSERT INTO instances AS i (id, held_since, expires_at, room, arrivals_per_second)
                SELECT $1::uuid, now, now + $2::bigint * interval '1 microsecond', $3::bigint, $4::bigint FROM clock
            ON CONFLICT (id) DO UPDATE SET expires_at = excluded.expires_at,
                room = excluded.room, arrivals_per_second = excluded.arrivals_per_second,
                held_since = CASE WHEN i.expires_at < excluded.held_since THEN excluded.held_since ELSE i.held_since END
            RETURNING held_since, expires_at - $2::bigint * interval '1 microsecond', (SELECT number FROM counted)
            """
        ).with(instance).with(lease.microseconds).with(capacity.map { Int64($0.room) }).with(
            capacity.map { Int64($0.arrivalsPerSecond) }
        ).with(Int64(clamping: last.number)).with(Int64.random(in: .min ... .max)).with(last.at)
            .with(Int64(bitPattern: last.history)).with(Beat.Count.kept.microseconds)
        let others = PostgresCall("SELECT id, expires_at, room, arrivals_per_second FROM instances WHERE id <> $1").with(instance)
        let heads = PostgresStore.changes(since: known)
        // Not in the statement that may begin one: where another instance was faster, that one sees the history before.
        let history = PostgresCall("SELECT id FROM store_history")
        let results: [PostgresResult]
        // A lost connection is no outage: a lease that is renewed twice is renewed.
        do { results = try await repeating(first + [renewal, others, heads, history], lane: .commits).get().suffix(4) } catch {
            // Without a lease nothing is committed: for this instance the store is away.
            throw error.isRowLockTimeout ? .unavailable(error.description) : StoreError(error)
        }
        guard let own = results[0].first, let told = results[3].first else { throw .corrupt("a lease without a row") }
        var changed: [Beat.Head] = []
        var gone: [QueueID] = []
        for row in results[2].rows {
            guard try row.get(4) else {
                gone.append(try row.get(0))
                continue
            }
            // A queue that was edited by hand and makes no sense must not keep the instance from living.
            guard let head = UInt64(exactly: try row.get(2, as: Int64.self)) else { continue }
            changed.append(
                Beat.Head(
                    queue: try row.get(0), epoch: UInt64(bitPattern: try row.get(1, as: Int64.self)),
                    position: LogPosition(seq: head, at: try row.get(3))))
        }
        return Beat(
            count: Beat.Count(
                number: try own.number(2), at: try own.get(1), history: UInt64(bitPattern: try told.get(0, as: Int64.self))),
            heldSince: try own.get(0),
            peers: try results[1].rows.map(PostgresStore.peer), changed: changed,
            gone: gone)
    }

    /// Of these queues, those whose log is elsewhere, and those that are not there any more. Epochs as `QueueRecord.epoch` has them.
    private static func changes(since known: [Beat.Head]) -> PostgresCall {
        var id = PostgresColumn<QueueID>()
        var epoch = PostgresColumn<Int64>()
        var head = PostgresColumn<Int64>()
        var at = PostgresColumn<Timestamp>()
        for queue in known {
            id.append(queue.queue)
            epoch.append(Int64(bitPattern: queue.epoch))
            head.append(Int64(queue.position.seq))
            at.append(queue.position.at)
        }
        return PostgresCall(
            """
            SELECT k.id, q.epoch, q.head, q.last_event_at, q.id IS NOT NULL
            FROM unnest($1::uuid[], $2::bigint[], $3::bigint[], $4::timestamptz[]) AS k (id, epoch, head, at)
                LEFT JOIN (
                    SELECT id, head, last_event_at, CASE WHEN history = (SELECT id FROM store_history) THEN epoch
                        ELSE (epoch # (SELECT id FROM store_history)) & -2 END AS epoch
                    FROM queues WHERE is_active
                ) q ON q.id = k.id
            WHERE q.id IS NULL OR (q.epoch, q.head, q.last_event_at) <> (k.epoch, k.head, k.at)
            """
        ).with(id).with(epoch).with(head).with(at)
    }

    public func beginHistory() async throws(StoreError) {
        try await writing(
            PostgresCall("UPDATE store_history SET id = $1, begun_at = clock_timestamp()").with(Int64.random(in: .min ... .max)))
    }

    public func beginHistory(insteadOf epoch: UInt64, of queue: QueueID) async throws(StoreError) {
        // Of two who find out at once the second finds the history of the first.
        try await writing(
            PostgresCall(
                """
                UPDATE store_history h SET id = $1, begun_at = clock_timestamp() FROM queues q
                WHERE q.id = $2 AND q.is_active AND CASE WHEN q.history = h.id THEN q.epoch ELSE (q.epoch # h.id) & -2 END = $3
                """
            ).with(Int64.random(in: .min ... .max)).with(queue).with(Int64(bitPattern: epoch)))
    }

    private static func peer(_ row: PostgresRow) throws(StoreError) -> Beat.Peer {
        var capacity: Capacity?
        if let room = try row.optional(2, as: Int64.self), let arrivals = try row.optional(3, as: Int64.self) {
            capacity = Capacity(room: Int(room), arrivalsPerSecond: Int(arrivals))
        }
        return Beat.Peer(id: try row.get(0), expiresAt: try row.get(1), capacity: capacity)
    }

    public func endLease(_ instance: InstanceID) async throws(StoreError) {
        try await writing(PostgresCall("UPDATE instances SET expires_at = clock_timestamp() WHERE id = $1").with(instance), lane: .commits)
    }

    public func removeLease(_ instance: InstanceID) async throws(StoreError) {
        try await writing(
            PostgresCall("DELETE FROM instances WHERE id = $1 AND expires_at <= clock_timestamp()").with(instance), lane: .commits)
    }

    public func held(by instance: InstanceID, in queue: QueueID) async throws(StoreError) -> [Ticket] {
        try await reading(
            [
                PostgresCall(
                    """
                    SELECT s.ticket FROM user_sessions s, queues q
                    WHERE q.id = $1 AND s.queue_id = $1 AND s.absent_since IS NULL AND s.instance = $2
                        AND (s.status, s.id) >= ('waiting', '00000000-0000-0000-0000-000000000000'::uuid)
                        AND (s.status, s.id) <= ('waiting', 'ffffffff-ffff-ffff-ffff-ffffffffffff'::uuid)
                        AND (q.unseen_seq IS NULL OR s.presence_seq > q.unseen_seq)
                        AND (q.closed_seq IS NULL OR s.presence_seq > q.closed_seq)
                    """
                ).with(queue).with(instance)
            ], seconds: settings.statementSeconds, lane: .commits)[0].rows.map { row throws(StoreError) in try row.ticket(0) }
    }
}
