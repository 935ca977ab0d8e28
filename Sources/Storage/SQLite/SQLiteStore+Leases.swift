import Foundation
import GRDB
public import QueueEngine
public import QueueService

/// Who serves this store. A process that has locked the file is alone, and then a lease is soon made.
extension SQLiteStore {
    static var now: Int64 { Int64(Date().timeIntervalSince1970 * 1_000_000) }

    static func hasLease(_ instance: InstanceID, _ db: Database) throws -> Bool {
        let statement = try db.cachedStatement(sql: "SELECT 1 FROM instances WHERE id = ? AND expires_at > ?")
        return try Int.fetchOne(statement, arguments: [instance.data, now]) != nil
    }

    public func beat(
        _ instance: InstanceID, lease: Timestamp.Span, capacity: Capacity?, after last: Beat.Count, known: [Beat.Head]
    ) async throws(StoreError) -> Beat {
        try await writing { db in
            let now = SQLiteStore.now
            try db.execute(
                sql: """
                    INSERT INTO instances (id, held_since, expires_at) VALUES (?, ?, ?)
                    ON CONFLICT (id) DO UPDATE SET expires_at = excluded.expires_at,
                        held_since = CASE WHEN expires_at < excluded.held_since THEN excluded.held_since ELSE held_since END
                    """, arguments: [instance.data, now, now + lease.microseconds])
            let heldSince = try Int64.fetchOne(db, sql: "SELECT held_since FROM instances WHERE id = ?", arguments: [instance.data])
            let peers = try Row.fetchAll(db, sql: "SELECT id, expires_at FROM instances WHERE id <> ?", arguments: [instance.data])
                .compactMap { row in
                    InstanceID(bytes: row[0] as Data).map { Beat.Peer(id: $0, expiresAt: Timestamp(microseconds: row[1])) }
                }
            let count = try SQLiteStore.count(instance, after: last, at: now, db)
            let heads = try known.map { (known: $0, stored: try SQLiteStore.head(of: $0.queue, db)) }
            return Beat(
                count: count, heldSince: Timestamp(microseconds: heldSince ?? now), peers: peers,
                changed: heads.compactMap { known, stored in stored == known ? nil : stored },
                gone: heads.compactMap { known, stored in stored == nil ? known.queue : nil })
        }
    }

    /// Counts a beat of an instance, and finds out whether the store has gone back since its last one.
    private static func count(_ instance: InstanceID, after last: Beat.Count, at now: Int64, _ db: Database) throws -> Beat.Count {
        if last == .none { try db.execute(sql: "DELETE FROM heartbeats WHERE at < ?", arguments: [now - Beat.Count.kept.microseconds]) }
        let statement = try db.cachedStatement(sql: "SELECT number FROM heartbeats WHERE instance = ?")
        let told = last.at.microseconds
        // What was counted of an instance that has been away for long is deleted, and proves nothing.
        let unknown = told > now - Beat.Count.kept.microseconds ? 0 : Int64(clamping: last.number)
        let known = try number(Int64.fetchOne(statement, arguments: [instance.data]) ?? unknown)
        if known < last.number {
            try db.execute(
                sql: "UPDATE store_history SET id = random(), begun_at = ? WHERE id = ? OR begun_at <= ?",
                arguments: [max(now, told + 1), Int64(bitPattern: last.history), told])
        }
        let count = Beat.Count(number: max(known, last.number) + 1, at: Timestamp(microseconds: now), history: try history(db))
        try db.cachedStatement(sql: "INSERT OR REPLACE INTO heartbeats VALUES (?, ?, ?)")
            .execute(arguments: [instance.data, Int64(clamping: count.number), now])
        return count
    }

    private static func history(_ db: Database) throws -> UInt64 {
        guard let id = try Int64.fetchOne(db.cachedStatement(sql: "SELECT id FROM store_history")) else {
            throw StoreError.corrupt("a store without a history")
        }
        return UInt64(bitPattern: id)
    }

    /// A queue's epoch, from its own columns.
    static func epoch(_ first: Int64, _ history: Int64, _ db: Database) throws -> UInt64 {
        QueueRecord.epoch(
            UInt64(bitPattern: first), madeIn: UInt64(bitPattern: history), current: try SQLiteStore.history(db))
    }

    public func beginHistory() async throws(StoreError) {
        try await writing { db in try SQLiteStore.beginHistory(db) }
    }

    public func beginHistory(insteadOf epoch: UInt64, of queue: QueueID) async throws(StoreError) {
        try await writing { db in if try SQLiteStore.head(of: queue, db)?.epoch == epoch { try SQLiteStore.beginHistory(db) } }
    }

    private static func beginHistory(_ db: Database) throws {
        try db.execute(sql: "UPDATE store_history SET id = random(), begun_at = ?", arguments: [now])
    }

    private static func head(of queue: QueueID, _ db: Database) throws -> Beat.Head? {
        let statement = try db.cachedStatement(sql: "SELECT epoch, history, head, last_event_at FROM queues WHERE id = ? AND is_active")
        return try Row.fetchOne(statement, arguments: [queue.data]).map { row in
            Beat.Head(
                queue: queue, epoch: try epoch(row[0], row[1], db),
                position: LogPosition(seq: UInt64(clamping: row[2] as Int64), at: Timestamp(microseconds: row[3])))
        }
    }

    public func endLease(_ instance: InstanceID) async throws(StoreError) {
        try await writing { db in
            try db.execute(sql: "UPDATE instances SET expires_at = ? WHERE id = ?", arguments: [SQLiteStore.now, instance.data])
        }
    }

    public func removeLease(_ instance: InstanceID) async throws(StoreError) {
        try await writing { db in
            try db.execute(
                sql: "DELETE FROM instances WHERE id = ? AND expires_at <= ?", arguments: [instance.data, SQLiteStore.now])
        }
    }

    public func held(by instance: InstanceID, in queue: QueueID) async throws(StoreError) -> [Ticket] {
        try await reading { db in
            try Int64.fetchAll(
                db,
                sql: """
                    SELECT s.ticket FROM user_sessions s JOIN queues q ON q.id = s.queue_id
                    WHERE s.queue_id = ? AND s.status = 'waiting' AND s.absent_since IS NULL AND s.instance = ?
                        AND (q.unseen_seq IS NULL OR s.presence_seq > q.unseen_seq)
                        AND (q.closed_seq IS NULL OR s.presence_seq > q.closed_seq)
                    """, arguments: [queue.data, instance.data]
            ).map { Ticket(rawValue: UInt64(bitPattern: $0)) }
        }
    }
}
