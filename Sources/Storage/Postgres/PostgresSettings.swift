/// How a Postgres server is used. Every limit has a safe default.
public struct PostgresSettings: Sendable {
    /// A replica, or several: lists, which may be a little old, are read there. Nil: everything is read at home.
    public var readURI: String?
    /// Connections at most, 1 to 100. Half of them, at most two, are reserved for commits and heartbeats.
    public var connections = 4
    /// Lists that may be read at once. Each has a connection of its own, and one is always left for look-ups.
    public var lists = 1
    /// Requests of a kind that may wait for a connection at once, and for how long. An attempt to connect may take as long.
    public var maximumWaiting = 1_000
    public var waitSeconds = 5
    /// For how long requests wait for a server that cannot be reached, before they are failed. A connection that is cut
    /// and made anew within this time fails nothing.
    public var reconnectSeconds = 2
    /// What a statement may take where nobody waits for it, in seconds.
    public var statementSeconds = 30
    /// What a commit or a look-up may take, in seconds. The server ends its statement when the caller stops waiting, and one that
    /// has waited for a lock for a quarter of it: where others wait for a row, too, that is waited for twice.
    public var answerSeconds = 8
    /// How long a statement waits for a lock, in milliseconds; nil: a quarter of `answerSeconds`.
    public var lockMilliseconds: Int?
    /// How long an append looks for those who can be committed among the queues of which rows were locked last, in milliseconds.
    var suspectsMilliseconds = 500
    /// Waits before a request is repeated for the n-th time.
    var pause: @Sendable (Int) async -> Void = { turn in try? await Task.sleep(for: pauseLength(before: turn)) }

    public init() {}

    /// 50 ms, twice as long each time, a second at most: a server that is back is found within a second.
    static func pauseLength(before turn: Int) -> Duration { .milliseconds(min(1_000, 25 << min(turn, 6))) }

    /// Where the address says nothing else.
    var parameters: [(String, String)] {
        [
            ("application_name", "stanchion"), ("client_encoding", "UTF8"),
            // A peer that vanished is noticed also while nothing is asked.
            ("keepalives_idle", "5"), ("keepalives_interval", "2"), ("keepalives_count", "3"),
            (
                "options",
                """
                -c statement_timeout=\(statementSeconds)s -c lock_timeout=\(lockMilliseconds ?? 250 * answerSeconds)ms \
                -c plan_cache_mode=force_generic_plan -c enable_seqscan=off -c jit=off -c timezone=UTC
                """
            ),
        ]
    }
}
