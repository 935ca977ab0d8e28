public import EventLoop
public import QueueService

/// Where queues are kept: a file, or a server that several instances share.
public enum DatabaseAddress: Sendable, CustomStringConvertible {
    case sqlite(path: String)
    case postgres(uri: String)

    /// `sqlite:PATH`, `postgresql://…` or `postgres://…`; nil for anything else.
    public init?(_ text: String) {
        if text.hasPrefix("sqlite:"), text.count > 7 {
            self = .sqlite(path: String(text.dropFirst(7)))
        } else if text.hasPrefix("postgresql://") || text.hasPrefix("postgres://") {
            self = .postgres(uri: text)
        } else {
            return nil
        }
    }

    /// Opens the database, and brings its schema up to date.
    ///
    /// - Parameters:
    ///   - exclusively: refuses a file that another process serves from.
    ///   - loop: what a server is spoken to from; best the one that most of what is asked comes from.
    public func open(exclusively: Bool, on loop: EventLoop, _ settings: PostgresSettings = .init()) async throws(StoreOpenError)
        -> any QueueStore
    {
        switch self {
        case .sqlite(let path): try SQLiteStore(path: path, exclusively: exclusively, limits: settings)
        case .postgres(let uri): try await PostgresStore.open(uri: uri, loop: loop, settings: settings)
        }
    }

    /// Whether the schema is the one of this program; changes nothing.
    public func isCurrent(on loop: EventLoop) async throws(StoreOpenError) -> Bool {
        switch self {
        case .sqlite(let path): try SQLiteStore.isCurrent(path: path)
        case .postgres(let uri): try await PostgresStore.isCurrent(uri: uri, loop: loop)
        }
    }

    /// For messages: without a password.
    public var description: String {
        switch self {
        case .sqlite(let path): path
        case .postgres(let uri): (try? PostgresAddress(uri: uri))?.description ?? "Postgres"
        }
    }
}
