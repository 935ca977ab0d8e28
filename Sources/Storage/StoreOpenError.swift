/// Why a database cannot be served from; each says what to do about it.
public enum StoreOpenError: Error, Sendable, Hashable, CustomStringConvertible {
    // A file.
    case locked(String)
    case corrupt(String)
    case unusable(String, String)
    // A server.
    case malformed(String)
    case tooOld(String)
    /// The database's name, and its encoding.
    case notUTF8(String, String)
    case unreachable(String)
    // Either.
    case newer(String)

    public var description: String {
        switch self {
        case .locked(let path): "the database \(path) is in use by another process: end that one, or give this one a file of its own"
        case .corrupt(let path):
            "the database \(path) is damaged or no SQLite file: restore it from a backup, or move it away to begin anew"
        case .unusable(let path, let why):
            "the database \(path) cannot be used (\(why)): check the path, its permissions and the room on its disk"
        case .malformed(let why): "the address of the database is none (\(why)): postgresql://user@host:5432/database"
        case .tooOld(let version): "the database's server is PostgreSQL \(version), and must be 13 or newer: serve from a newer one"
        case .notUTF8(let name, let encoding):
            "the database \(name) is encoded in \(encoding), which cannot hold every name, and must be UTF8: make one with "
                + "`createdb --encoding UTF8 --template template0 NAME`, and serve from that"
        case .unreachable(let why): "the database cannot be served from (\(why)): check its address, its user and that it runs"
        case .newer(let name): "the database \(name) was written by a newer stanchion: use that release, or another database"
        }
    }
}
