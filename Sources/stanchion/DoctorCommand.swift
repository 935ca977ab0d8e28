import ArgumentParser
import EventLoop
import Fanout
import Foundation
import Operations
import Storage

struct DoctorCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "doctor",
        abstract: "Say what is wrong with a server, its database and its Redis, why, and what to do.",
        discussion: """
            Ends with 1 where something is critical, and with 69 where what it is shown does not answer. To see how long a commit \
            takes it writes some bytes into Postgres' write-ahead log, or a file beside SQLite's, which it removes.
            """)

    @Option(help: "Where a server is; may be given several times. Default http://127.0.0.1:8080, where nothing else is given.")
    var url: [String] = []

    @Option(help: "A key, where /metrics is to be read with one. Default the variable STANCHION_ADMIN_KEY.")
    var adminKey: String?

    @Option(help: "Its database, to be asked itself: sqlite:PATH or postgresql://USER@HOST:PORT/NAME.")
    var database: String?

    @Option(help: "Its Redis, to be asked itself, as for `serve`.")
    var redis: String?

    @Option(help: "For how long the server's figures are watched: 1 to 60.")
    var seconds = 5.0

    @Flag(help: "Print JSON, with figures.")
    var json = false

    @Flag(help: "Say as well how a Postgres is used: connections, indexes, slow statements.")
    var figures = false

    func run() async throws {
        guard (1...60).contains(seconds) else { throw Failure.usage("--seconds is \(seconds), and must be from 1 to 60") }
        // All of it is read before anything is asked.
        let urls = url.isEmpty && database == nil && redis == nil ? ["http://127.0.0.1:8080"] : url
        let servers = try urls.map(ServerURL.address)
        let home = try database.map { try SettingFlags.address($0) }
        let bus = try redis.map { text in
            do throws(RedisAddress.Malformed) { return try RedisAddress(text) } catch {
                throw Failure.usage("--redis cannot be used: \(error.reason)")
            }
        }
        let findings: Findings
        do {
            findings = try await examine(servers, home, bus)
        } catch let error as Doctor.Unreachable {
            throw Failure.unavailable(error.description)
        } catch let error as StoreOpenError {
            throw Failure(error)
        }
        print(json ? try findings.printed() : findings.text)
        if figures, !json, let database = findings.database { print("\n\(database.text)") }
        if findings.hasCritical { throw ExitCode(1) }
    }

    private func examine(_ servers: [SocketAddress], _ home: DatabaseAddress?, _ bus: RedisAddress?) async throws -> Findings {
        var doctor = try Doctor()
        // The database first: in it a look at a lock is a look at this moment.
        switch home {
        case .postgres(let uri)?: try await doctor.examine(postgres: uri, named: "\(home!)")
        case .sqlite(let path)?: try doctor.examine(folder: URL(fileURLWithPath: path).deletingLastPathComponent().path)
        case nil: break
        }
        if let bus { try await doctor.examine(redis: bus) }
        let key = adminKey ?? ProcessInfo.processInfo.environment["STANCHION_ADMIN_KEY"]
        for server in servers { try await doctor.examine(server: server, key: key, seconds: seconds) }
        return doctor.finish()
    }
}
