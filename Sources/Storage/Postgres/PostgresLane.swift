/// What a request is for: no lane takes the connections that another one needs.
///
/// Of a pool's connections a half, at most two, is reserved for commits. Requests of the other lanes share the rest, and
/// lists, which may take long, have a smaller share of that: look-ups go past them. Joins take turns with all of these, however
/// many of them wait.
enum PostgresLane: Int, CaseIterable {
    /// Appends, beats and leases, and what an instance must read to decide: what others have committed, which queues wake,
    /// whom a dead instance held. Others wait for them, so they go first and may use every connection.
    case commits
    /// What must be known before something is written: whether the visitor already has a place, and how an earlier request with the
    /// same key was answered.
    case joins
    /// What one request asks for: a session, a page of a log, a queue, a key.
    case lookups
    /// Lists and retention, which many rows may be read for.
    case lists
}

/// How many requests of each lane may run at once.
struct LaneLimits {
    private let connections: Int
    /// What joins, look-ups and lists may use together.
    private let shared: Int
    private let lists: Int

    init(_ settings: PostgresSettings) {
        connections = settings.connections
        shared = max(1, connections - min(2, connections / 2))
        // One connection is left for look-ups, where there is more than one.
        lists = max(1, min(settings.lists, shared - 1))
    }

    func admits(_ lane: PostgresLane, running: [Int]) -> Bool {
        let others = running.reduce(0, +) - running[PostgresLane.commits.rawValue]
        return switch lane {
        case .commits: others + running[lane.rawValue] < connections
        case .joins, .lookups: others < shared
        case .lists: others < shared && running[lane.rawValue] < lists
        }
    }
}
