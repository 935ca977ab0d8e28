import ArgumentParser
import Storage

/// The flags of `serve` for a database on a server.
struct DatabaseFlags: ParsableArguments {
    @Option(
        help:
            "A replica's postgresql:// address: lists of sessions, which may be a little old, are read there while it answers. Default none. [STANCHION_DATABASE_READ_URL]"
    )
    var databaseRead: String?

    @Option(
        help:
            "Connections to Postgres, 1 to 100. Half of them, at most two, are reserved for commits and heartbeats; of one, none is. Default 4. [STANCHION_DATABASE_CONNECTIONS]"
    )
    var databaseConnections: String?

    @Option(
        help:
            "Lists of sessions that may be read at once, whichever the database; look-ups go past them. Default 1. [STANCHION_DATABASE_LISTS]"
    )
    var databaseLists: String?

    @Option(help: "Requests of a kind that may wait for a connection at once. Default 1000. [STANCHION_DATABASE_WAITING]")
    var databaseWaiting: String?

    @Option(help: "Seconds that a request waits for a connection, or for one to be made. Default 5. [STANCHION_DATABASE_WAIT_SECONDS]")
    var databaseWaitSeconds: String?

    @Option(
        help:
            "Seconds for which requests wait for a Postgres that cannot be reached, before they are refused and everybody is told. Default 2. [STANCHION_RECONNECT_SECONDS]"
    )
    var reconnectSeconds: String?

    @Option(help: "Seconds that a statement may take where nobody waits for it, as at a start. Default 30. [STANCHION_STATEMENT_SECONDS]")
    var statementSeconds: String?

    @Option(
        help: "Seconds after which what Postgres has not answered, a join above all, is refused. Default 8. [STANCHION_DATABASE_SECONDS]")
    var databaseSeconds: String?

    @Option(
        help: "Seconds without a word after which the other instances take one for dead, 3 to 300. Default 10. [STANCHION_LEASE_SECONDS]")
    var leaseSeconds: String?

    func read(_ sources: SettingSources, into settings: inout PostgresSettings) throws {
        if let uri = sources.text("database-read", flag: databaseRead) {
            guard case .postgres = DatabaseAddress(uri) else {
                throw Failure.setting("database-read must be postgresql://USER@HOST:PORT/NAME")
            }
            settings.readURI = uri
        }
        try sources.integer("database-connections", flag: databaseConnections, in: 1...100, &settings.connections)
        try sources.integer("database-lists", flag: databaseLists, in: 1...100, &settings.lists)
        try sources.integer("database-waiting", flag: databaseWaiting, in: 1...1_000_000, &settings.maximumWaiting)
        try sources.integer("database-wait-seconds", flag: databaseWaitSeconds, in: 1...600, &settings.waitSeconds)
        try sources.integer("reconnect-seconds", flag: reconnectSeconds, in: 1...60, &settings.reconnectSeconds)
        try sources.integer("statement-seconds", flag: statementSeconds, in: 1...3_600, &settings.statementSeconds)
        try sources.integer("database-seconds", flag: databaseSeconds, in: 1...600, &settings.answerSeconds)
    }
}
