import OrderedCollections
import QueueEngine
import QueueService

/// A batch of appends as one statement: one round trip, one transaction, and no lock that is held across a round trip.
///
/// It locks the rows of the queues, in one order so that nobody waits in a circle, looks which of the appends continue
/// their log, and writes those. The snapshot that it judges by may be older than a lock that it had to wait for; but who
/// wrote meanwhile has moved the head, and then nothing of that queue is written. So numbers are given in the order of
/// commits: no reader sees a later one before an earlier one.
struct AppendStatement {
    private var queues = Queues()
    private var log = Log()
    private var joined = Joined()
    private var changed = Changed()
    private var moved = Moved()
    private var announced = Announced()
    private var receipts = Receipts()
    private let instance: InstanceID

    /// - Parameter instance: writes nothing where it has no lease any more, and holds who joins or connects.
    init(_ batch: some Sequence<LogAppend>, by instance: InstanceID) {
        self.instance = instance
        for append in batch { add(append) }
    }

    private mutating func add(_ append: LogAppend) {
        let queue = append.record.id
        for (event, detail) in append.events {
            log.add(queue, event)
            if case .announcement(let text, let severity, let expiresAt) = detail, case .announced = event.change {
                announced.add(queue, event, text, severity, expiresAt)
            }
        }
        let rows = AppendRows(append)
        queues.add(append, rows)
        for (ticket, session) in rows.sessions {
            if let made = session.made {
                joined.add(queue, ticket, session, made)
            } else {
                changed.add(queue, ticket, session)
            }
        }
        for absence in rows.absences { moved.add(queue, absence) }
        for (index, receipt) in append.receipts.enumerated() { receipts.add(queue, receipt, index) }
    }

    var call: PostgresCall {
        var call = PostgresCall(AppendStatement.text)
        queues.give(to: &call)
        log.give(to: &call)
        joined.give(to: &call)
        changed.give(to: &call)
        moved.give(to: &call)
        announced.give(to: &call)
        receipts.give(to: &call)
        call = call.with(instance)
        queues.giveRest(to: &call)
        return call
    }

    /// Answers a row for each queue: id, whether its log is where it was expected, whether it was written, what stood against it,
    /// and whether it is kept for another instance.
    ///
    /// The lease's row is locked against being removed: whoever removes it knows that nothing more of this instance comes.
    ///
    /// Its plan is made once for a connection, perhaps while the tables are empty, and must be good when they are not. So
    /// what is looked for in a table of many rows is looked for in ways for which one index only is of use: an `EXISTS`
    /// may become a table of all who wait, and a condition on the status may lead through all of these.
    private static let text: StaticString = """
        WITH asked AS MATERIALIZED (
            SELECT * FROM unnest($1::uuid[], $2::bigint[], $3::bigint[], $4::timestamptz[], $5::text[], $6::text[], $7::uuid[],
                $8::bigint[], $9::text[], $10::text[], $11::text[], $12::text[], $13::text[], $14::timestamptz[], $15::timestamptz[],
                $16::bigint[], $17::timestamptz[], $18::bigint[], $19::timestamptz[], $68::boolean[], $69::timestamptz[])
            AS asked (id, expected, head, at, status, counters, tenant_id, epoch, slug, name, description, redirect_url,
                configuration, created_at, expected_at, unseen_seq, unseen_at, closed_seq, closed_at, is_occupied, wake_at)
        ), leased AS MATERIALIZED (
            SELECT FROM instances WHERE id = $67::uuid AND expires_at > clock_timestamp() FOR KEY SHARE
        ), locked AS MATERIALIZED (
            SELECT id, head, last_event_at, reserved_by, reserved_until FROM queues WHERE id = ANY ($1) AND is_active ORDER BY id FOR NO KEY UPDATE
        ), continued AS MATERIALIZED (
            SELECT a.id FROM asked a LEFT JOIN locked l ON l.id = a.id
            WHERE coalesce(l.head = a.expected AND l.last_event_at = a.expected_at, a.expected = 0)
        ), kept AS MATERIALIZED (
            SELECT id FROM locked WHERE reserved_by <> $67::uuid
                AND reserved_until - clock_timestamp() BETWEEN interval '0' AND interval '100 milliseconds'
        ), joining AS MATERIALIZED (
            SELECT * FROM unnest($26::uuid[], $27::bigint[], $28::uuid[], $29::text[], $30::text[], $31::text[], $32::text[],
                $33::text[], $34::text[], $35::timestamptz[], $36::timestamptz[], $37::timestamptz[], $38::timestamptz[],
                $39::timestamptz[], $40::bigint[], $41::bigint[])
            AS joining (queue_id, ticket, id, user_id, label, display_name, metadata, status, end_reason, created_at,
                absent_since, admitted_at, expires_at, ended_at, event, presence_seq)
        ), changing AS MATERIALIZED (
            SELECT * FROM unnest($42::uuid[], $43::bigint[], $44::text[], $45::text[], $46::timestamptz[], $47::timestamptz[],
                $48::timestamptz[], $49::timestamptz[])
            AS changing (queue_id, ticket, status, end_reason, absent_since, admitted_at, expires_at, ended_at)
        ), proving AS MATERIALIZED (
            SELECT * FROM unnest($61::uuid[], $62::uuid[], $63::text[], $64::bytea[], $65::text[], $66::bigint[])
            AS proving (queue_id, tenant_id, key, request_hash, result, receipt)
        ), user_taken AS MATERIALIZED (
            SELECT j.queue_id, min(j.event) AS event FROM (
                SELECT queue_id, user_id, event, row_number() OVER (PARTITION BY queue_id, user_id ORDER BY event) AS turn
                FROM joining WHERE user_id IS NOT NULL) j
            WHERE j.turn > 1 OR (SELECT s.ticket FROM user_sessions s
                WHERE s.queue_id = j.queue_id AND s.user_id = j.user_id AND s.status IN ('waiting', 'admitted')) IS NOT NULL
            GROUP BY j.queue_id
        ), receipt_taken AS MATERIALIZED (
            SELECT p.queue_id, min(p.receipt) AS receipt FROM proving p JOIN receipts r
                ON r.tenant_id = p.tenant_id AND r.key = p.key GROUP BY p.queue_id
        ), slug_taken AS MATERIALIZED (
            SELECT a.id FROM asked a JOIN queues q ON q.slug = a.slug AND q.is_active AND q.id <> a.id
            WHERE a.configuration IS NOT NULL
        ), granted AS MATERIALIZED (
            SELECT a.* FROM asked a JOIN continued c ON c.id = a.id
            WHERE EXISTS (SELECT FROM leased) AND a.id NOT IN (SELECT queue_id FROM user_taken)
                AND a.id NOT IN (SELECT queue_id FROM receipt_taken) AND a.id NOT IN (SELECT id FROM slug_taken)
                AND a.id NOT IN (SELECT id FROM kept)
        ), advanced AS (
            UPDATE queues q SET head = g.head, status = g.status, counters = g.counters::jsonb, reserved_by = NULL,
                last_event_at = coalesce(g.at, q.last_event_at),
                unseen_seq = coalesce(g.unseen_seq, q.unseen_seq), unseen_at = coalesce(g.unseen_at, q.unseen_at),
                closed_seq = coalesce(g.closed_seq, q.closed_seq), closed_at = coalesce(g.closed_at, q.closed_at),
                slug = CASE WHEN g.configuration IS NULL THEN q.slug ELSE g.slug END,
                name = CASE WHEN g.configuration IS NULL THEN q.name ELSE g.name END,
                description = CASE WHEN g.configuration IS NULL THEN q.description ELSE g.description END,
                redirect_url = CASE WHEN g.configuration IS NULL THEN q.redirect_url ELSE g.redirect_url END,
                configuration = coalesce(g.configuration::jsonb, q.configuration),
                wake_at = CASE WHEN q.is_occupied AND g.is_occupied THEN q.wake_at ELSE g.wake_at END, is_occupied = g.is_occupied
            FROM granted g WHERE q.id = g.id AND g.expected > 0
        ), reserved AS (
            UPDATE queues q SET reserved_by = $67::uuid, reserved_until = clock_timestamp() + interval '100 milliseconds'
            FROM asked a JOIN locked l ON l.id = a.id
            WHERE q.id = a.id AND a.id NOT IN (SELECT id FROM continued) AND a.id NOT IN (SELECT id FROM kept)
                AND EXISTS (SELECT FROM leased)
        ), made AS (
            INSERT INTO queues (id, tenant_id, epoch, slug, name, description, redirect_url, configuration, status, head,
                last_event_at, counters, created_at, is_occupied, wake_at, history)
            SELECT id, tenant_id, epoch, slug, name, description, redirect_url, configuration::jsonb, status, head, at,
                counters::jsonb, created_at, is_occupied, wake_at, (SELECT id FROM store_history)
            FROM granted WHERE expected = 0 AND head > 0
        ), logged AS (
            INSERT INTO log (queue_id, seq, tenant_id, at, type, ticket, data)
            SELECT l.queue_id, l.seq, g.tenant_id, l.at, l.type, l.ticket, l.data
            FROM unnest($20::uuid[], $21::bigint[], $22::timestamptz[], $23::text[], $24::bigint[], $25::text[])
                AS l (queue_id, seq, at, type, ticket, data)
            JOIN granted g ON g.id = l.queue_id
        ), joined AS (
            INSERT INTO user_sessions (queue_id, ticket, id, tenant_id, user_id, label, display_name, metadata, status, end_reason,
                created_at, absent_since, admitted_at, expires_at, ended_at, instance, presence_seq)
            SELECT j.queue_id, j.ticket, j.id, g.tenant_id, j.user_id, j.label, j.display_name, j.metadata, j.status, j.end_reason,
                j.created_at, j.absent_since, j.admitted_at, j.expires_at, j.ended_at, $67::uuid, j.presence_seq
            FROM joining j JOIN granted g ON g.id = j.queue_id
        ), changed AS (
            UPDATE user_sessions s SET status = coalesce(c.status, s.status), end_reason = coalesce(c.end_reason, s.end_reason),
                absent_since = c.absent_since, admitted_at = coalesce(c.admitted_at, s.admitted_at),
                expires_at = coalesce(c.expires_at, s.expires_at), ended_at = coalesce(c.ended_at, s.ended_at)
            FROM changing c JOIN granted g ON g.id = c.queue_id WHERE s.queue_id = c.queue_id AND s.ticket = c.ticket
        ), moved AS (
            UPDATE user_sessions s SET absent_since = m.since,
                instance = CASE WHEN m.since IS NULL THEN $67::uuid ELSE s.instance END,
                presence_seq = m.seq
            FROM unnest($50::uuid[], $51::bigint[], $52::bigint[], $53::timestamptz[], $54::bigint[])
                AS m (queue_id, first, last, since, seq)
            JOIN granted g ON g.id = m.queue_id
            WHERE s.queue_id = m.queue_id AND s.ticket BETWEEN m.first AND m.last AND s.status IS NOT DISTINCT FROM 'waiting'
        ), announced AS (
            INSERT INTO announcements (queue_id, seq, tenant_id, text, severity, published_at, expires_at)
            SELECT n.queue_id, n.seq, g.tenant_id, n.text, n.severity, n.published_at, n.expires_at
            FROM unnest($55::uuid[], $56::bigint[], $57::text[], $58::text[], $59::timestamptz[], $60::timestamptz[])
                AS n (queue_id, seq, text, severity, published_at, expires_at)
            JOIN granted g ON g.id = n.queue_id
        ), proved AS (
            INSERT INTO receipts (tenant_id, key, request_hash, result)
            SELECT p.tenant_id, p.key, p.request_hash, p.result FROM proving p JOIN granted g ON g.id = p.queue_id
        )
        SELECT a.id, c.id IS NOT NULL, g.id IS NOT NULL, u.event, r.receipt, s.id IS NOT NULL, NOT EXISTS (SELECT FROM leased),
            k.id IS NOT NULL
        FROM asked a LEFT JOIN continued c ON c.id = a.id LEFT JOIN granted g ON g.id = a.id
            LEFT JOIN user_taken u ON u.queue_id = a.id LEFT JOIN receipt_taken r ON r.queue_id = a.id
            LEFT JOIN slug_taken s ON s.id = a.id LEFT JOIN kept k ON k.id = a.id
        """
}
