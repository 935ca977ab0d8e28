import Foundation
import GRDB
public import QueueEngine
public import QueueService

extension SQLiteStore {
    public func wakingQueues(after point: WakePoint, through end: Timestamp, limit: Int) async throws(StoreError) -> [WakePoint] {
        try await reading { db in
            let statement = try db.cachedStatement(
                sql: """
                    SELECT wake_at, id FROM queues WHERE is_active AND wake_at IS NOT NULL AND wake_at <= ?
                        AND (wake_at, id) > (?, ?) ORDER BY wake_at, id LIMIT ?
                    """)
            return try Row.fetchAll(
                statement, arguments: [end.microseconds, point.at.microseconds, point.queue.data, limit]
            ).compactMap { row in
                QueueID(bytes: row[1] as Data).map { WakePoint(at: Timestamp(microseconds: row[0]), queue: $0) }
            }
        }
    }

    public func queues(of tenant: TenantID, after cursor: QueueID?, limit: Int) async throws(StoreError) -> [StoredQueue] {
        try await reading { db in
            try Row.fetchAll(
                db, sql: "SELECT * FROM queues WHERE tenant_id = ? AND id > ? AND is_active ORDER BY id LIMIT ?",
                arguments: [tenant.data, (cursor ?? QueueID(high: 0, low: 0)).data, limit]
            ).map { try SQLiteStore.queue($0, db) }
        }
    }

    public func queue(slug: String) async throws(StoreError) -> QueueID? {
        try await reading { db in
            try Data.fetchOne(db, sql: "SELECT id FROM queues WHERE slug = ? AND is_active", arguments: [slug])
                .flatMap { QueueID(bytes: $0) }
        }
    }

    public func loadQueue(_ queue: QueueID) async throws(StoreError) -> StoredQueue? {
        try await reading { db in
            try Row.fetchOne(db, sql: "SELECT * FROM queues WHERE id = ? AND is_active", arguments: [queue.data])
                .map { try SQLiteStore.load($0, db) }
        }
    }

    public func deleteQueue(_ queue: QueueID, tenant: TenantID, at seq: UInt64) async throws(StoreError) -> Bool {
        try await writing { db in
            try db.execute(
                sql: "UPDATE queues SET is_active = 0 WHERE id = ? AND tenant_id = ? AND head = ?",
                arguments: [queue.data, tenant.data, Int64(clamping: seq)])
            return db.changesCount == 1
        }
    }

    public func closingQueues(limit: Int) async throws(StoreError) -> [QueueID] {
        try await reading { db in
            let statement = try db.cachedStatement(
                sql: "SELECT id FROM queues INDEXED BY idx_queues_closing WHERE closed_seq > coalesce(closed_written, 0) LIMIT ?")
            return try Row.fetchAll(statement, arguments: [limit]).compactMap { QueueID(bytes: $0[0] as Data) }
        }
    }

    public func deletedLog(of queue: QueueID, tenant: TenantID) async throws(StoreError) -> DeletedLog? {
        try await reading { db in
            let statement = try db.cachedStatement(
                sql: """
                    SELECT epoch, history, head, (SELECT seq FROM log WHERE queue_id = q.id ORDER BY seq LIMIT 1) FROM queues q
                    WHERE id = ? AND tenant_id = ? AND NOT is_active
                    """)
            guard let row = try Row.fetchOne(statement, arguments: [queue.data, tenant.data]) else { return nil }
            let head = try SQLiteStore.number(row[2])
            return DeletedLog(
                epoch: try SQLiteStore.epoch(row[0], row[1], db), first: (row[3] as Int64?).map { UInt64(clamping: $0) } ?? head + 1,
                head: head)
        }
    }

    public func entries(of queue: QueueID, after seq: UInt64, limit: Int) async throws(StoreError) -> [LogEntry] {
        try await reading { db in
            let statement = try db.cachedStatement(
                sql: """
                    SELECT log.seq, log.at, log.type, log.ticket, log.data, s.id AS session_id, s.user,
                        a.text, a.severity, a.published_at, a.expires_at
                    FROM log
                    LEFT JOIN user_sessions s ON s.queue_id = log.queue_id AND s.ticket = log.ticket
                    LEFT JOIN announcements a ON a.queue_id = log.queue_id AND a.seq = log.seq
                    WHERE log.queue_id = ? AND log.seq > ? ORDER BY log.seq LIMIT ?
                    """)
            return try Row.fetchAll(statement, arguments: [queue.data, Int64(clamping: seq), limit]).map(SQLiteStore.entry)
        }
    }

    public func logBounds(of queue: QueueID) async throws(StoreError) -> ClosedRange<UInt64>? {
        try await reading { db in
            let statement = try db.cachedStatement(
                sql: """
                    SELECT (SELECT seq FROM log WHERE queue_id = ?1 ORDER BY seq LIMIT 1),
                        (SELECT seq FROM log WHERE queue_id = ?1 ORDER BY seq DESC LIMIT 1)
                    """)
            guard let row = try Row.fetchOne(statement, arguments: [queue.data]), let first = row[0] as Int64?, let last = row[1] as Int64?
            else { return nil }
            return UInt64(clamping: first)...UInt64(clamping: last)
        }
    }

    public func confirm(_ position: ConsumerPosition, limit: Int) async throws(StoreError) {
        try await writingTogether { db in
            try db.execute(
                sql: """
                    INSERT INTO consumers (queue_id, key_id, name, tenant_id, seq, confirmed_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
                    ON CONFLICT (queue_id, name, key_id) DO UPDATE SET seq = excluded.seq, confirmed_at = excluded.confirmed_at WHERE ?7
                    """,
                arguments: [
                    position.queue.data, position.key.data, position.name, position.tenant.data, Int64(clamping: position.seq),
                    SQLiteStore.now, position.isExplicit,
                ])
            try db.execute(
                sql: """
                    DELETE FROM consumers WHERE queue_id = ?1 AND key_id = ?2 AND name <> ?3 AND name IN (
                        SELECT name FROM consumers WHERE queue_id = ?1 AND key_id = ?2 AND name <> ?3
                        ORDER BY confirmed_at DESC LIMIT -1 OFFSET ?4)
                    """, arguments: [position.queue.data, position.key.data, position.name, limit - 1])
        }
    }

    public func endClosed(_ queue: QueueID, limit: Int) async throws(StoreError) -> Int {
        try await writing { db in
            try db.execute(
                sql: """
                    UPDATE user_sessions SET status = 'expired', end_reason = 'closed', absent_since = NULL,
                        ended_at = (SELECT closed_at FROM queues WHERE id = ?1)
                    WHERE queue_id = ?1 AND ticket IN (
                        SELECT w.ticket FROM user_sessions w JOIN queues q ON q.id = w.queue_id
                        WHERE w.queue_id = ?1 AND w.status = 'waiting' AND coalesce(w.presence_seq, 0) < q.closed_seq LIMIT ?2)
                    """, arguments: [queue.data, limit])
            let count = db.changesCount
            if count == 0 {
                try db.execute(
                    sql: """
                        UPDATE queues SET closed_written = closed_seq WHERE id = ? AND closed_seq > coalesce(closed_written, 0)
                        """, arguments: [queue.data])
            }
            return count
        }
    }

    public func averageWaits(of queues: [QueueID], last: Int) async throws(StoreError) -> [QueueID: Double] {
        try await reading { db in
            let statement = try db.cachedStatement(
                sql: """
                    SELECT avg(s.admitted_at - s.created_at) / 1e6 FROM (
                        SELECT ticket FROM log WHERE queue_id = ?1 AND type = 'admitted'
                            AND seq > (SELECT head FROM queues WHERE id = ?1) - ?3
                        ORDER BY seq DESC LIMIT ?2) l
                    JOIN user_sessions s ON s.queue_id = ?1 AND s.ticket = l.ticket
                    """)
            var waits: [QueueID: Double] = [:]
            for queue in queues { waits[queue] = try Double.fetchOne(statement, arguments: [queue.data, last, 20 * last]) }
            return waits
        }
    }

    public func announcements(of queue: QueueID, at now: Timestamp, limit: Int) async throws(StoreError) -> [Announcement] {
        try await reading { db in
            try Row.fetchAll(
                db,
                sql: """
                    SELECT * FROM announcements WHERE queue_id = ? AND (expires_at IS NULL OR expires_at > ?)
                    ORDER BY seq DESC LIMIT ?
                    """, arguments: [queue.data, now.microseconds, limit]
            ).compactMap(SQLiteStore.announcement)
        }
    }

    // MARK: Rows

    /// A number that is never negative, unless somebody has edited it.
    static func number(_ value: Int64) throws -> UInt64 {
        guard let number = UInt64(exactly: value) else { throw StoreError.corrupt("a negative number in a row") }
        return number
    }

    private static func load(_ row: Row, _ db: Database) throws -> StoredQueue {
        let queue = try queue(row, db)
        var image = queue.image
        try loadLine(&image, queue.record.id, db)
        try loadHistory(&image, queue.record.id, db)
        return StoredQueue(record: queue.record, image: image, isOccupied: queue.isOccupied)
    }

    /// The queue as its row alone tells it.
    private static func queue(_ row: Row, _ db: Database) throws -> StoredQueue {
        guard let id = QueueID(bytes: row["id"] as Data), let tenant = TenantID(bytes: row["tenant_id"] as Data),
            let configuration = JSON.decode(QueueConfiguration.self, row["configuration"]),
            let counters = JSON.decode(QueueCounters.self, row["counters"]),
            let status = QueueStatus(rawValue: row["status"])
        else { throw StoreError.corrupt("a queue's row") }
        let record = QueueRecord(
            id: id, tenant: tenant, epoch: try SQLiteStore.epoch(row["epoch"], row["history"], db), slug: row["slug"], name: row["name"],
            description: row["description"], redirectURL: row["redirect_url"], configuration: configuration,
            createdAt: Timestamp(microseconds: row["created_at"]))
        var image = QueueImage(
            configuration: configuration, status: status, head: try number(row["head"]),
            lastEventAt: Timestamp(microseconds: row["last_event_at"]), counters: counters)
        image.unseenSince = (row["unseen_at"] as Int64?).map { Timestamp(microseconds: $0) }
        return StoredQueue(record: record, image: image, isOccupied: row["is_occupied"])
    }

    private static func loadLine(_ image: inout QueueImage, _ id: QueueID, _ db: Database) throws {
        let waiting = try Row.fetchCursor(
            db,
            sql: """
                SELECT s.ticket, coalesce(s.absent_since, CASE WHEN s.presence_seq > q.unseen_seq THEN NULL ELSE q.unseen_at END)
                FROM user_sessions s JOIN queues q ON q.id = s.queue_id WHERE s.queue_id = ? AND s.status = 'waiting'
                    AND (q.closed_seq IS NULL OR s.presence_seq > q.closed_seq)
                """, arguments: [id.data])
        while let row = try waiting.next() {
            let since: Int64? = row[1]
            image.waiting.append((Ticket(rawValue: try number(row[0])), since.map { Timestamp(microseconds: $0) }))
        }
        let admitted = try Row.fetchCursor(
            db, sql: "SELECT ticket, expires_at FROM user_sessions WHERE queue_id = ? AND status = 'admitted'",
            arguments: [id.data])
        while let row = try admitted.next() {
            image.admitted.append((Ticket(rawValue: try number(row[0])), Timestamp(microseconds: row[1])))
        }
    }

    /// What has moved lately, read from the log backwards: no row has to be indexed by when it ended.
    private static func loadHistory(_ image: inout QueueImage, _ id: QueueID, _ db: Database) throws {
        let since = (image.lastEventAt - QueueImage.history).microseconds
        let recent = try Row.fetchCursor(
            db,
            sql: """
                SELECT log.at, log.type, s.admitted_at FROM log
                LEFT JOIN user_sessions s ON s.queue_id = log.queue_id AND s.ticket = log.ticket
                WHERE log.queue_id = ? ORDER BY log.seq DESC
                """, arguments: [id.data])
        while let row = try recent.next(), row[0] as Int64 >= since {
            let moment = Timestamp(microseconds: row[0])
            let wasAdmitted = (row[2] as Int64?) != nil
            switch row[1] as String {
            case "admitted": image.admissions.append(moment)
            case "completed": image.turnovers.append(moment)
            case "left", "expired": if wasAdmitted { image.turnovers.append(moment) } else { image.departures.append(moment) }
            default: break
            }
        }
    }

    private static func entry(_ row: Row) throws -> LogEntry {
        let ticket = try (row["ticket"] as Int64?).map { Ticket(rawValue: try number($0)) }
        guard let change = StoredChange(type: row["type"], ticket: ticket, data: row["data"]).change else {
            throw StoreError.corrupt("an entry of the log")
        }
        let seq = try number(row["seq"])
        return LogEntry(
            event: QueueEvent(seq: seq, at: Timestamp(microseconds: row["at"]), change: change),
            session: (row["session_id"] as Data?).flatMap { SessionID(bytes: $0) }, user: row["user"],
            announcement: (row["text"] as String?) == nil ? nil : try announcement(row))
    }

    private static func announcement(_ row: Row) throws -> Announcement? {
        try Severity(rawValue: row["severity"]).map { severity in
            Announcement(
                seq: try number(row["seq"]), text: row["text"], severity: severity,
                publishedAt: Timestamp(microseconds: row["published_at"]),
                expiresAt: (row["expires_at"] as Int64?).map { Timestamp(microseconds: $0) })
        }
    }
}
