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
        _ instance: InstanceID, lease: Timestamp.Span, capacity: Capacity?, isFirst: Bool, after moment: StoreMoment, known: [Beat.Head]
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
            let moment = try SQLiteStore.count(after: moment, db)
            let heads = try known.map { (known: $0, stored: try SQLiteStore.head(of: $0.queue, db)) }
            return Beat(
                now: Timestamp(microseconds: now), moment: moment, heldSince: Timestamp(microseconds: heldSince ?? now), peers: peers,
                changed: heads.compactMap { known, stored in stored == known ? nil : stored },
                gone: heads.compactMap { known, stored in stored == nil ? known.queue : nil })
        }
    }

    /// Counts a beat of an instance that was told `last` with the one before.
    private static func count(after last: StoreMoment, _ db: Database) throws -> StoreMoment {
        let statement = try db.cachedStatement(
            sql: """
                UPDATE store_history SET id = CASE WHEN beats < ?1 THEN random() ELSE id END,
                    beats = CASE WHEN beats < ?1 THEN ?1 + ?2 ELSE beats END + 1
                """)
        try statement.execute(arguments: [Int64(clamping: last.beats), Int64(StoreMoment.leap)])
        return try moment(db)
    }

    static func moment(_ db: Database) throws -> StoreMoment {
        guard let row = try Row.fetchOne(db.cachedStatement(sql: "SELECT id, beats FROM store_history")) else {
            throw StoreError.corrupt("a store without a history")
        }
        return StoreMoment(history: UInt64(bitPattern: row[0] as Int64), beats: UInt64(row[1] as Int64))
    }

    /// A queue's epoch, from its own column and that of the history in which it was made.
    static func epoch(_ first: Int64, _ history: Int64, _ db: Database) throws -> UInt64 {
        try moment(db).epoch(madeWith: UInt64(bitPattern: first), in: UInt64(bitPattern: history))
    }

    public func beginHistory(contradicting head: Beat.Head?) async throws(StoreError) {
        try await writing { db in
            if let head, try SQLiteStore.head(of: head.queue, db)?.epoch != head.epoch { return }
            try db.execute(sql: "UPDATE store_history SET id = random()")
        }
    }

    private static func head(of queue: QueueID, _ db: Database) throws -> Beat.Head? {
        let statement = try db.cachedStatement(sql: "SELECT epoch, history, head, last_event_at FROM queues WHERE id = ? AND is_active")
        return try Row.fetchOne(statement, arguments: [queue.data]).map { row in
            Beat.Head(
                queue: queue, epoch: try epoch(row[0], row[1], db),
                position: LogPosition(seq: UInt64(row[2] as Int64), at: Timestamp(microseconds: row[3])))
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
