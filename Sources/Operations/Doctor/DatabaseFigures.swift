import Storage

/// What a Postgres counts of its own use: connections by what they do, indexes by how often they help, and what is slow.
public struct DatabaseFigures: Sendable, Encodable {
    public struct Index: Sendable, Encodable {
        public let table: String
        public let name: String
        public let scans: Int64
        public let rowsRead: Int64
        public let rowsFetched: Int64
    }

    public struct Statement: Sendable, Encodable {
        public let text: String
        public let calls: Int64
        public let meanMilliseconds: Double
        public let rows: Int64
    }

    public let connections: [String: Int64]
    public let indexes: [Index]
    /// Those that take longer than a second on the average; nil where pg_stat_statements is not there.
    public let slowStatements: [Statement]?

    init(_ facts: PostgresFacts) {
        connections = facts.connections
        indexes = facts.indexes.map {
            Index(table: $0.table, name: $0.name, scans: $0.scans, rowsRead: $0.rowsRead, rowsFetched: $0.rowsFetched)
        }
        slowStatements = facts.slowStatements?.map {
            Statement(text: $0.text, calls: $0.calls, meanMilliseconds: $0.meanMilliseconds, rows: $0.rows)
        }
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
                "  \(Words.time($0.meanMilliseconds / 1_000)) each, \($0.calls) times, \($0.rows) rows: "
                    + $0.text.split(whereSeparator: \.isWhitespace).joined(separator: " ")
            }
        }
        return lines.joined(separator: "\n")
    }
}
