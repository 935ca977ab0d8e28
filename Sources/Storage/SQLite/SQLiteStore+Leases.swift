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
        _ instance: InstanceID, lease: Timestamp.Span, capacity: Capacity?, isFirst: Bool, known: [Beat.Head]
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
            let heads = try known.map { (known: $0, stored: try SQLiteStore.head(of: $0.queue, db)) }
            return Beat(
                now: Timestamp(microseconds: now), heldSince: Timestamp(microseconds: heldSince ?? now), peers: peers,
                changed: heads.compactMap { known, stored in stored == known ? nil : stored },
                gone: heads.compactMap { known, stored in stored == nil ? known.queue : nil })
        }
    }

    private static func head(of queue: QueueID, _ db: Database) throws -> Beat.Head? {
        let statement = try db.cachedStatement(sql: "SELECT epoch, head, last_event_at FROM queues WHERE id = ? AND is_active")
        return try Row.fetchOne(statement, arguments: [queue.data]).map { row in
            Beat.Head(
                queue: queue, epoch: UInt64(bitPattern: row[0] as Int64),
                position: LogPosition(seq: UInt64(row[1] as Int64), at: Timestamp(microseconds: row[2])))
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
            ).map { Ticket(rawValue: UInt64($0)) }
        }
    }
}
