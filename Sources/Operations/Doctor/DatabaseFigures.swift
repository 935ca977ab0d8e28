public import Storage

/// What a Postgres counts of its own use: connections by what they do, indexes by how often they help, and what is slow.
public struct DatabaseFigures: Sendable, Encodable {
    public let connections: [String: Int64]
    public let indexes: [PostgresFacts.Index]
    /// Those that take longer than a second on the average; nil where pg_stat_statements is not there.
    public let slowStatements: [PostgresFacts.Statement]?

    init(_ facts: PostgresFacts) {
        connections = facts.connections
        indexes = facts.indexes
        slowStatements = facts.slowStatements
    }

    public var text: String {
        var lines = ["Connections of clients:"]
        lines += connections.sorted { $0.key < $1.key }.map { "  \($0.key): \($0.value)" }
        lines.append("Indexes, since the statistics were reset:")
        lines += indexes.map {
            "  \($0.name) of \($0.table): \($0.scans) scans, \($0.rowsRead) entries read, \($0.rowsFetched) rows fetched"
        }
        if let slowStatements {
            lines.append("Statements that take longer than a second on the average: \(slowStatements.isEmpty ? "none" : "")")
            lines += slowStatements.map {
                "  \(Words.time($0.meanMilliseconds / 1_000)) each, \($0.calls) times, \($0.rows) rows: \($0.text.oneLine)"
            }
        }
        return lines.joined(separator: "\n")
    }
}
