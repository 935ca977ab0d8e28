import GRDB

/// The tables, forward only. Times are microseconds since 1970, identifiers 16 bytes, and every row has its tenant.
enum SQLiteSchema {
    static var migrator: DatabaseMigrator {
        var migrator = DatabaseMigrator()
        migrator.registerMigration("1 queues, sessions, log") { try $0.execute(sql: first) }
        migrator.registerMigration("2 instances") { try $0.execute(sql: second) }
        migrator.registerMigration("3 readers by name") { try $0.execute(sql: third) }
        migrator.registerMigration("4 trends") { try $0.execute(sql: fourth) }
        migrator.registerMigration("5 when nobody was in sight, and who was sent away") { try $0.execute(sql: fifth) }
        migrator.registerMigration("6 queues at rest") { try $0.execute(sql: sixth) }
        migrator.registerMigration("7 lists by status, and retention") { db in
            try db.execute(sql: seventh)
            try db.execute(sql: "UPDATE receipts SET created_at = ?", arguments: [SQLiteStore.now])
        }
        migrator.registerMigration("8 the store's history") { try $0.execute(sql: eighth) }
        migrator.registerMigration("9 readers' names belong to keys") { try $0.execute(sql: ninth) }
        return migrator
    }

    private static let first = """
        CREATE TABLE tenants (id BLOB PRIMARY KEY NOT NULL, name TEXT NOT NULL) WITHOUT ROWID;

        CREATE TABLE keys (
            id BLOB PRIMARY KEY NOT NULL, tenant_id BLOB NOT NULL REFERENCES tenants (id), role TEXT NOT NULL,
            hash BLOB NOT NULL UNIQUE, label TEXT NOT NULL
        ) WITHOUT ROWID;

        CREATE TABLE queues (
            id BLOB PRIMARY KEY NOT NULL, tenant_id BLOB NOT NULL REFERENCES tenants (id), epoch INTEGER NOT NULL,
            slug TEXT NOT NULL, name TEXT NOT NULL, description TEXT NOT NULL, redirect_url TEXT,
            configuration TEXT NOT NULL, status TEXT NOT NULL, is_active INTEGER NOT NULL DEFAULT 1,
            head INTEGER NOT NULL, last_event_at INTEGER NOT NULL, counters TEXT NOT NULL, created_at INTEGER NOT NULL
        ) WITHOUT ROWID;
        CREATE UNIQUE INDEX idx_queues_slug ON queues (slug) WHERE is_active;
        CREATE INDEX idx_queues_tenant_active ON queues (tenant_id, is_active) WHERE is_active;

        CREATE TABLE user_sessions (
            queue_id BLOB NOT NULL REFERENCES queues (id), ticket INTEGER NOT NULL, id BLOB NOT NULL,
            tenant_id BLOB NOT NULL, user TEXT, label TEXT, display_name TEXT, metadata TEXT,
            status TEXT NOT NULL, end_reason TEXT, created_at INTEGER NOT NULL, absent_since INTEGER,
            admitted_at INTEGER, expires_at INTEGER, ended_at INTEGER,
            PRIMARY KEY (queue_id, ticket)
        ) WITHOUT ROWID;
        CREATE UNIQUE INDEX idx_user_sessions_id ON user_sessions (id);
        CREATE INDEX idx_user_sessions_queue_status ON user_sessions (queue_id, status, created_at);
        CREATE UNIQUE INDEX idx_user_sessions_user ON user_sessions (queue_id, user)
            WHERE user IS NOT NULL AND status IN ('waiting', 'admitted');

        CREATE TABLE log (
            queue_id BLOB NOT NULL, seq INTEGER NOT NULL, tenant_id BLOB NOT NULL, at INTEGER NOT NULL,
            type TEXT NOT NULL, ticket INTEGER, data TEXT,
            PRIMARY KEY (queue_id, seq)
        ) WITHOUT ROWID;

        CREATE TABLE announcements (
            queue_id BLOB NOT NULL, seq INTEGER NOT NULL, tenant_id BLOB NOT NULL, text TEXT NOT NULL,
            severity TEXT NOT NULL, published_at INTEGER NOT NULL, expires_at INTEGER,
            PRIMARY KEY (queue_id, seq)
        ) WITHOUT ROWID;

        CREATE TABLE receipts (
            tenant_id BLOB NOT NULL, key TEXT NOT NULL, request_hash BLOB NOT NULL, result TEXT NOT NULL,
            PRIMARY KEY (tenant_id, key)
        ) WITHOUT ROWID;

        CREATE TABLE secrets (
            id TEXT PRIMARY KEY NOT NULL, purpose TEXT NOT NULL, value BLOB NOT NULL, created_at INTEGER NOT NULL
        ) WITHOUT ROWID;

        CREATE TABLE probe (id INTEGER PRIMARY KEY CHECK (id = 1), n INTEGER NOT NULL);
        INSERT INTO probe VALUES (1, 0);
        """

    private static let second = """
        CREATE TABLE instances (
            id BLOB PRIMARY KEY NOT NULL, held_since INTEGER NOT NULL, expires_at INTEGER NOT NULL
        ) WITHOUT ROWID;
        ALTER TABLE user_sessions ADD COLUMN instance BLOB;
        DROP TABLE probe;
        """

    private static let third = """
        CREATE TABLE consumers (
            queue_id BLOB NOT NULL, name TEXT NOT NULL, tenant_id BLOB NOT NULL, seq INTEGER NOT NULL, confirmed_at INTEGER NOT NULL,
            PRIMARY KEY (queue_id, name)
        ) WITHOUT ROWID;
        """

    private static let fourth = """
        CREATE TABLE system_hours (
            hour INTEGER NOT NULL, instance BLOB NOT NULL, requests INTEGER NOT NULL, failed INTEGER NOT NULL, period TEXT NOT NULL,
            PRIMARY KEY (hour, instance)
        ) WITHOUT ROWID;
        CREATE TABLE marks (
            id BLOB NOT NULL, tenant_id BLOB NOT NULL, at INTEGER NOT NULL, text TEXT NOT NULL,
            PRIMARY KEY (tenant_id, at, id)
        ) WITHOUT ROWID;
        """

    /// `presence_seq` is the last event that said of this visitor alone whether they are in sight. Where `unseen_seq` came
    /// later they are out of sight since `unseen_at`, unless the session's row has an earlier moment: when nobody is in sight,
    /// one row is written and not a million. Where `closed_seq` came later whoever waits was sent away at `closed_at`; their
    /// own rows are written afterwards. The view is of the sessions as they are.
    private static let fifth = """
        ALTER TABLE queues ADD COLUMN unseen_seq INTEGER;
        ALTER TABLE queues ADD COLUMN unseen_at INTEGER;
        ALTER TABLE queues ADD COLUMN closed_seq INTEGER;
        ALTER TABLE queues ADD COLUMN closed_at INTEGER;
        ALTER TABLE user_sessions ADD COLUMN presence_seq INTEGER;

        CREATE VIEW sessions AS
        SELECT s.id, s.tenant_id, s.queue_id, s.ticket, s.user, s.label, s.display_name, s.metadata,
            CASE WHEN s.status = 'waiting' AND coalesce(s.presence_seq, 0) < q.closed_seq THEN 'expired' ELSE s.status END AS status,
            CASE WHEN s.status = 'waiting' AND coalesce(s.presence_seq, 0) < q.closed_seq THEN 'closed' ELSE s.end_reason END
                AS end_reason, s.created_at, s.admitted_at, s.expires_at,
            CASE WHEN s.status = 'waiting' AND coalesce(s.presence_seq, 0) < q.closed_seq THEN q.closed_at ELSE s.ended_at END AS ended_at
        FROM user_sessions s JOIN queues q ON q.id = s.queue_id;
        """

    /// `is_occupied` says that somebody waits or is admitted. `wake_at` is then since when, and else when time will next bring
    /// something: by it an instance finds the queues that it must serve among all that are at rest.
    private static let sixth = """
        ALTER TABLE queues ADD COLUMN is_occupied INTEGER NOT NULL DEFAULT 0;
        ALTER TABLE queues ADD COLUMN wake_at INTEGER;
        UPDATE queues SET is_occupied = EXISTS (SELECT 1 FROM user_sessions s
            WHERE s.queue_id = queues.id AND s.status IN ('waiting', 'admitted'));
        UPDATE queues SET wake_at = created_at
            WHERE is_occupied OR configuration LIKE '%"opensAt"%' OR configuration LIKE '%"closesAt"%';
        CREATE INDEX idx_queues_wake_at ON queues (wake_at, id) WHERE is_active AND wake_at IS NOT NULL;
        DROP INDEX idx_queues_tenant_active;
        CREATE INDEX idx_queues_tenant_active ON queues (tenant_id, id) WHERE is_active;
        """

    /// Lists go by id within a status, of a queue or of a tenant. Ids begin with the time, so the index on a queue's
    /// sessions still has them in the order in which they were made.
    ///
    /// - `closed_written` is the `closed_seq` up to which the rows of those who were sent away have been written: only a
    ///   queue where it is behind has sessions whose row has another status than they have.
    /// - `log_since` is when the oldest entry of the log happened, or another moment before which nothing can be pruned;
    ///   0: not known yet.
    /// - `deleted_at` is set by retention when it first sees that a queue was deleted.
    private static let seventh = """
        DROP INDEX idx_user_sessions_queue_status;
        CREATE INDEX idx_user_sessions_queue_status ON user_sessions (queue_id, status, id);
        CREATE INDEX idx_user_sessions_tenant_status ON user_sessions (tenant_id, status, id);
        CREATE INDEX idx_user_sessions_ended ON user_sessions (ended_at) WHERE ended_at IS NOT NULL;

        ALTER TABLE queues ADD COLUMN closed_written INTEGER;
        ALTER TABLE queues ADD COLUMN deleted_at INTEGER;
        ALTER TABLE queues ADD COLUMN log_since INTEGER NOT NULL DEFAULT 0;
        CREATE INDEX idx_queues_closing ON queues (tenant_id) WHERE closed_seq > coalesce(closed_written, 0);
        CREATE INDEX idx_queues_log_since ON queues (log_since) WHERE is_active;
        CREATE INDEX idx_queues_deleted ON queues (deleted_at) WHERE NOT is_active;

        ALTER TABLE receipts ADD COLUMN created_at INTEGER NOT NULL DEFAULT 0;
        CREATE INDEX idx_receipts_created ON receipts (created_at);
        CREATE INDEX idx_announcements_expires ON announcements (expires_at) WHERE expires_at IS NOT NULL;
        CREATE INDEX idx_consumers_confirmed ON consumers (confirmed_at);
        CREATE INDEX idx_marks_at ON marks (at);
        """

    /// - `heartbeats` outlives leases: what an instance was told of its beats must be there whatever has become of its lease.
    /// - `store_history` is one row: which history the store tells, and since when.
    /// - `history` is the one in which a queue was made.
    private static let eighth = """
        CREATE TABLE heartbeats (instance BLOB PRIMARY KEY NOT NULL, number INTEGER NOT NULL, at INTEGER NOT NULL) WITHOUT ROWID;
        CREATE TABLE store_history (is_only INTEGER PRIMARY KEY CHECK (is_only), id INTEGER NOT NULL, begun_at INTEGER NOT NULL);
        INSERT INTO store_history VALUES (1, 0, 0);
        ALTER TABLE queues ADD COLUMN history INTEGER NOT NULL DEFAULT 0;
        """

    /// Positions that are older than this belong to no key, and age.
    private static let ninth = """
        CREATE TABLE consumers_of_keys (
            queue_id BLOB NOT NULL, name TEXT NOT NULL, key_id BLOB NOT NULL, tenant_id BLOB NOT NULL, seq INTEGER NOT NULL,
            confirmed_at INTEGER NOT NULL,
            PRIMARY KEY (queue_id, name, key_id)
        ) WITHOUT ROWID;
        INSERT INTO consumers_of_keys SELECT queue_id, name, zeroblob(16), tenant_id, seq, confirmed_at FROM consumers;
        DROP TABLE consumers;
        ALTER TABLE consumers_of_keys RENAME TO consumers;
        CREATE INDEX idx_consumers_confirmed ON consumers (confirmed_at);
        """
}
