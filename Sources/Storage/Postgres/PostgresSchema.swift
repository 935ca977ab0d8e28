/// The tables, forward only. Every row has its tenant. The rows of a queue are written by whoever has its row in
/// `queues` locked, so nothing below refers to anything: such checks would cost a lock and a look for every row.
enum PostgresSchema {
    /// Each migration with its statements; carried out in one transaction.
    static let migrations: [(version: Int64, name: String, statements: [StaticString])] = [
        (1, "queues, sessions, log", first), (2, "instances", second),
        (3, "statistics", third), (4, "the index by ticket", fourth),
        (5, "what instances can take in", fifth),
        (6, "readers by name", sixth),
        (7, "a queue is kept for who lost it often", seventh),
        (8, "trends", eighth),
        (9, "when nobody was in sight, and who was sent away", ninth),
        (10, "queues at rest", tenth),
        (11, "lists by status, and retention", eleventh),
        (12, "the store's history", twelfth),
        (13, "readers' names belong to keys", thirteenth),
    ]
    static var newest: Int64 { migrations.last!.version }

    /// All that the migrations leave behind. Without one of these something is slow, or not refused that must be.
    static let indexes = [
        "idx_queues_wake_at", "queues_pkey", "idx_queues_slug", "idx_queues_tenant_active", "user_sessions_pkey", "idx_user_sessions_id",
        "idx_user_sessions_queue_status", "idx_user_sessions_user", "log_pkey", "announcements_pkey", "receipts_pkey", "consumers_pkey",
        "instances_pkey", "keys_pkey", "keys_hash_key", "tenants_pkey", "secrets_pkey", "schema_migrations_pkey",
        "system_hours_pkey", "marks_pkey", "idx_user_sessions_tenant_status", "idx_user_sessions_ended", "idx_queues_closing",
        "idx_queues_log_since", "idx_queues_deleted", "idx_receipts_created", "idx_announcements_expires", "idx_consumers_confirmed",
        "idx_marks_at", "store_history_pkey", "heartbeats_pkey",
    ]

    private static let first: [StaticString] = [
        "CREATE TABLE tenants (id uuid PRIMARY KEY, name text NOT NULL)",
        """
        CREATE TABLE keys (
            id uuid PRIMARY KEY, tenant_id uuid NOT NULL REFERENCES tenants (id), role text NOT NULL,
            hash bytea NOT NULL UNIQUE, label text NOT NULL
        )
        """,
        """
        CREATE TABLE queues (
            id uuid PRIMARY KEY, tenant_id uuid NOT NULL REFERENCES tenants (id), epoch bigint NOT NULL,
            slug text NOT NULL, name text NOT NULL, description text NOT NULL, redirect_url text,
            configuration jsonb NOT NULL, status text NOT NULL, is_active boolean NOT NULL DEFAULT true,
            head bigint NOT NULL, last_event_at timestamptz NOT NULL, counters jsonb NOT NULL, created_at timestamptz NOT NULL,
            max_concurrent_users integer GENERATED ALWAYS AS ((configuration ->> 'maxConcurrentUsers')::integer) STORED
        ) WITH (fillfactor = 50)
        """,
        "CREATE UNIQUE INDEX idx_queues_slug ON queues (slug) WHERE is_active",
        "CREATE INDEX idx_queues_tenant_active ON queues (tenant_id, is_active) WHERE is_active",
        """
        CREATE TABLE user_sessions (
            queue_id uuid NOT NULL, ticket bigint NOT NULL, id uuid NOT NULL, tenant_id uuid NOT NULL,
            user_id text, label text, display_name text, metadata text,
            status text NOT NULL, end_reason text, created_at timestamptz NOT NULL, absent_since timestamptz,
            admitted_at timestamptz, expires_at timestamptz, ended_at timestamptz,
            PRIMARY KEY (queue_id, ticket)
        ) WITH (fillfactor = 80)
        """,
        "CREATE UNIQUE INDEX idx_user_sessions_id ON user_sessions (id)",
        "CREATE INDEX idx_user_sessions_queue_status ON user_sessions (queue_id, status, created_at)",
        """
        CREATE UNIQUE INDEX idx_user_sessions_user ON user_sessions (queue_id, user_id)
            WHERE user_id IS NOT NULL AND status IN ('waiting', 'admitted')
        """,
        """
        CREATE TABLE log (
            queue_id uuid NOT NULL, seq bigint NOT NULL, tenant_id uuid NOT NULL, at timestamptz NOT NULL,
            type text NOT NULL, ticket bigint, data text,
            PRIMARY KEY (queue_id, seq)
        )
        """,
        """
        CREATE TABLE announcements (
            queue_id uuid NOT NULL, seq bigint NOT NULL, tenant_id uuid NOT NULL, text text NOT NULL,
            severity text NOT NULL, published_at timestamptz NOT NULL, expires_at timestamptz,
            PRIMARY KEY (queue_id, seq)
        )
        """,
        """
        CREATE TABLE receipts (
            tenant_id uuid NOT NULL, key text NOT NULL, request_hash bytea NOT NULL, result text NOT NULL,
            PRIMARY KEY (tenant_id, key)
        )
        """,
        "CREATE TABLE secrets (id text PRIMARY KEY, purpose text NOT NULL, value bytea NOT NULL, created_at timestamptz NOT NULL)",
        "CREATE TABLE probe (id integer PRIMARY KEY CHECK (id = 1), n bigint NOT NULL)",
        "INSERT INTO probe VALUES (1, 0)",
    ]

    private static let second: [StaticString] = [
        """
        CREATE TABLE instances (id uuid PRIMARY KEY, held_since timestamptz NOT NULL, expires_at timestamptz NOT NULL)
            WITH (fillfactor = 50)
        """,
        // Who saw the visitor last; by nothing else is it looked for, so that it costs no index.
        "ALTER TABLE user_sessions ADD COLUMN instance uuid",
        "DROP TABLE probe",
    ]

    /// For people with a SQL client and for dashboards; nothing here reads it.
    private static let third: [StaticString] = [
        """
        CREATE VIEW queue_stats AS
        WITH counted AS (
            SELECT q.id, q.name, q.max_concurrent_users, count(s.id) AS current_users,
                avg(extract(epoch FROM s.admitted_at - s.created_at)) AS avg_wait_time
            FROM queues q LEFT JOIN user_sessions s ON s.queue_id = q.id AND s.status = 'admitted'
            WHERE q.is_active GROUP BY q.id, q.name, q.max_concurrent_users
        )
        SELECT id, name, max_concurrent_users, current_users, avg_wait_time,
            CASE WHEN current_users >= max_concurrent_users THEN 'Full'
                WHEN current_users >= max_concurrent_users * 0.8 THEN 'Near Full' ELSE 'Available' END AS capacity_status
        FROM counted ORDER BY current_users DESC
        """
    ]

    /// Of two indexes that would do as well the planner takes the newer one, and while the tables are nearly empty all do
    /// as well. A plan made then is kept when they are not: by anything but the ticket it would read a queue's every row.
    private static let fourth: [StaticString] = [
        "ALTER TABLE user_sessions DROP CONSTRAINT user_sessions_pkey",
        "ALTER TABLE user_sessions ADD PRIMARY KEY (queue_id, ticket)",
    ]

    private static let fifth: [StaticString] = [
        "ALTER TABLE instances ADD COLUMN room bigint, ADD COLUMN arrivals_per_second bigint"
    ]

    private static let sixth: [StaticString] = [
        """
        CREATE TABLE consumers (
            queue_id uuid NOT NULL, name text NOT NULL, tenant_id uuid NOT NULL, seq bigint NOT NULL, confirmed_at timestamptz NOT NULL,
            PRIMARY KEY (queue_id, name)
        )
        """
    ]

    private static let seventh: [StaticString] = [
        "ALTER TABLE queues ADD COLUMN reserved_by uuid, ADD COLUMN reserved_until timestamptz"
    ]

    /// An instance's own doing is no tenant's.
    private static let eighth: [StaticString] = [
        """
        CREATE TABLE system_hours (
            hour bigint NOT NULL, instance uuid NOT NULL, requests bigint NOT NULL, failed bigint NOT NULL, period text NOT NULL,
            PRIMARY KEY (hour, instance)
        )
        """,
        """
        CREATE TABLE marks (
            id uuid NOT NULL, tenant_id uuid NOT NULL, at timestamptz NOT NULL, text text NOT NULL, PRIMARY KEY (tenant_id, at, id)
        )
        """,
    ]

    /// `presence_seq` is the last event that said of this visitor alone whether they are in sight. Where `unseen_seq` came
    /// later they are out of sight since `unseen_at`, unless the session's row has an earlier moment: when nobody is in sight,
    /// one row is written and not a million. Where `closed_seq` came later whoever waits was sent away at `closed_at`; their
    /// own rows are written afterwards. The view is of the sessions as they are.
    private static let ninth: [StaticString] = [
        """
        ALTER TABLE queues ADD COLUMN unseen_seq bigint, ADD COLUMN unseen_at timestamptz,
            ADD COLUMN closed_seq bigint, ADD COLUMN closed_at timestamptz
        """,
        "ALTER TABLE user_sessions ADD COLUMN presence_seq bigint",
        """
        CREATE VIEW sessions AS
        SELECT s.id, s.tenant_id, s.queue_id, s.ticket, s.user_id, s.label, s.display_name, s.metadata,
            CASE WHEN w.is_sent_away THEN 'expired' ELSE s.status END AS status,
            CASE WHEN w.is_sent_away THEN 'closed' ELSE s.end_reason END AS end_reason, s.created_at, s.admitted_at, s.expires_at,
            CASE WHEN w.is_sent_away THEN q.closed_at ELSE s.ended_at END AS ended_at
        FROM user_sessions s JOIN queues q ON q.id = s.queue_id,
            LATERAL (SELECT s.status = 'waiting' AND q.closed_seq IS NOT NULL
                AND coalesce(s.presence_seq, 0) < q.closed_seq AS is_sent_away) w
        """,
    ]

    /// `is_occupied` says that somebody waits or is admitted. `wake_at` is then since when, and else when time will next bring
    /// something: by it an instance finds the queues that it must serve among all that are at rest. While a queue is
    /// occupied neither changes, so a commit writes no index.
    private static let tenth: [StaticString] = [
        "ALTER TABLE queues ADD COLUMN is_occupied boolean NOT NULL DEFAULT false, ADD COLUMN wake_at timestamptz",
        """
        UPDATE queues SET is_occupied = EXISTS (SELECT FROM user_sessions s
            WHERE s.queue_id = queues.id AND s.status IN ('waiting', 'admitted'))
        """,
        """
        UPDATE queues SET wake_at = created_at
            WHERE is_occupied OR configuration -> 'opensAt' IS NOT NULL OR configuration -> 'closesAt' IS NOT NULL
        """,
        "CREATE INDEX idx_queues_wake_at ON queues (wake_at, id) WHERE is_active AND wake_at IS NOT NULL",
        "DROP INDEX idx_queues_tenant_active",
        "CREATE INDEX idx_queues_tenant_active ON queues (tenant_id, id) WHERE is_active",
    ]

    /// Lists go by id within a status, of a queue or of a tenant (see `sessionsOfTenant`). Ids begin with the time, so the
    /// index on a queue's sessions still has them in the order in which they were made.
    ///
    /// - `closed_written` is the `closed_seq` up to which the rows of those who were sent away have been written: only a
    ///   queue where it is behind has sessions whose row has another status than they have.
    /// - `log_since` is when the oldest entry of the log happened, or a later moment before which nothing can be pruned; the
    ///   epoch: not known yet.
    /// - `deleted_at` is set by retention when it first sees that a queue was deleted.
    ///
    /// The primary key is made anew to stay the newest index (see `fourth`).
    private static let eleventh: [StaticString] = [
        "DROP INDEX idx_user_sessions_queue_status",
        "CREATE INDEX idx_user_sessions_queue_status ON user_sessions (queue_id, status, id)",
        "CREATE INDEX idx_user_sessions_tenant_status ON user_sessions (tenant_id, status, id)",
        "CREATE INDEX idx_user_sessions_ended ON user_sessions (ended_at) WHERE ended_at IS NOT NULL",
        "ALTER TABLE user_sessions DROP CONSTRAINT user_sessions_pkey",
        "ALTER TABLE user_sessions ADD PRIMARY KEY (queue_id, ticket)",
        """
        ALTER TABLE queues ADD COLUMN closed_written bigint, ADD COLUMN deleted_at timestamptz,
            ADD COLUMN log_since timestamptz NOT NULL DEFAULT 'epoch'
        """,
        "CREATE INDEX idx_queues_closing ON queues (tenant_id) WHERE closed_seq > coalesce(closed_written, 0)",
        "CREATE INDEX idx_queues_log_since ON queues (log_since) WHERE is_active",
        "CREATE INDEX idx_queues_deleted ON queues (deleted_at) WHERE NOT is_active",
        "ALTER TABLE receipts ADD COLUMN created_at timestamptz NOT NULL DEFAULT now()",
        "CREATE INDEX idx_receipts_created ON receipts (created_at)",
        "CREATE INDEX idx_announcements_expires ON announcements (expires_at) WHERE expires_at IS NOT NULL",
        "CREATE INDEX idx_consumers_confirmed ON consumers (confirmed_at)",
        "CREATE INDEX idx_marks_at ON marks (at)",
    ]

    /// - `heartbeats` outlives leases: what an instance was told of its beats must be there whatever has become of its lease.
    /// - `store_history` is one row: which history the store tells, and since when.
    /// - `history` is the one in which a queue was made: its epoch is the one it was made with as long as that is told.
    private static let twelfth: [StaticString] = [
        // A dump of an older version that is restored over a newer one leaves these.
        "DROP TABLE IF EXISTS heartbeats, store_history",
        "CREATE TABLE heartbeats (instance uuid PRIMARY KEY, number bigint NOT NULL, at timestamptz NOT NULL) WITH (fillfactor = 50)",
        "CREATE TABLE store_history (is_only boolean PRIMARY KEY CHECK (is_only), id bigint NOT NULL, begun_at timestamptz NOT NULL)",
        "INSERT INTO store_history VALUES (true, 0, 'epoch')",
        "ALTER TABLE queues ADD COLUMN history bigint NOT NULL DEFAULT 0",
    ]

    /// Positions that are older than this belong to no key, and age.
    private static let thirteenth: [StaticString] = [
        "ALTER TABLE consumers ADD COLUMN IF NOT EXISTS key_id uuid NOT NULL DEFAULT '00000000-0000-0000-0000-000000000000'",
        "ALTER TABLE consumers DROP CONSTRAINT consumers_pkey",
        "ALTER TABLE consumers ADD PRIMARY KEY (queue_id, name, key_id)",
    ]
}
