public import EventLoop
import Foundation
public import QueueService
import QueueEngine
import Simulation
import Storage

/// The homes that a queue can have. What is promised of one is promised of each, and tested with each.
public enum StoreKind: Sendable, CaseIterable {
    case sqlite, postgres
    /// The simulator's, in memory.
    case model
}

/// A new, empty store, which goes with the value that made it.
public final class TestStore: Sendable {
    private let kind: StoreKind
    private let folder = TemporaryFolder()
    private let group: EventLoopGroup
    public let database = "test_" + UUID().uuidString.lowercased().replacing("-", with: "")
    private let model = ModelDatabase(reserves: true) { Timestamp(seconds: Date().timeIntervalSince1970) }

    public init(_ kind: StoreKind) async throws {
        self.kind = kind
        group = try EventLoopGroup(count: 1)
        if kind == .postgres { try TestStore.psql("CREATE DATABASE \(database)") }
    }

    /// Opens it; a file once more only where it was closed.
    ///
    /// - Parameter loop: where Postgres' connections live; nil: on a loop of their own.
    public func open(on loop: EventLoop? = nil) async throws -> any QueueStore {
        switch kind {
        case .sqlite: try SQLiteStore(path: folder.file("db"), exclusively: true)
        case .postgres: try await PostgresStore.open(uri: uri, loop: loop ?? group.loops[0], settings: TestStore.patient)
        case .model: ModelStore(model)
        }
    }

    /// A disk that stands still for a while is no failure of what is tested; locks are waited for as long as elsewhere.
    private static let patient: PostgresSettings = {
        var settings = PostgresSettings()
        (settings.answerSeconds, settings.lockMilliseconds) = (60, 250 * settings.answerSeconds)
        return settings
    }()

    /// Of a Postgres.
    public var uri: String {
        TestStore.server.split(separator: "/", omittingEmptySubsequences: false).dropLast().joined(separator: "/") + "/" + database
    }

    /// The same by way of a proxy on this machine.
    public func uri(port: UInt16) throws -> String { uri.replacing(":\(try serverPort)/", with: ":\(port)/") }

    public var serverPort: UInt16 {
        get throws {
            guard let port = TestStore.server.firstMatch(of: /127\.0\.0\.1:(\d+)/).flatMap({ UInt16($0.1) }) else {
                throw StoreError.unavailable("no port in \(TestStore.server)")
            }
            return port
        }
    }

    public static var server: String {
        guard let server = ProcessInfo.processInfo.environment["TEST_POSTGRES"] else {
            fatalError("these tests need a Postgres: Scripts/with-databases swift test")
        }
        return server
    }

    /// Runs a statement as somebody else would.
    public static func psql(_ sql: String, in uri: String = TestStore.server) throws {
        let errors = Pipe()
        let process = try begin([sql], in: uri, errors)
        let said = String(decoding: errors.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
        process.waitUntilExit()
        guard process.terminationStatus == 0 else { throw StoreError.unavailable("\(said)\n\(sql)") }
    }

    /// Keeps `table` locked as long as `file` is there, which is made when the lock is held. Nobody is kept waiting for it:
    /// a thread of the tests that stood still until a test had gone on would keep that from going on.
    public func lock(_ table: String, while file: String) throws {
        let commands = [
            "BEGIN", "LOCK TABLE \(table) IN ACCESS EXCLUSIVE MODE", "\\! touch \(file)",
            "\\! while [ -e \(file) ]; do sleep 0.05; done", "COMMIT",
        ]
        _ = try TestStore.begin(commands, in: uri)
    }

    private static func begin(_ commands: [String], in uri: String, _ errors: Pipe? = nil) throws -> Process {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: "/usr/bin/psql")
        process.arguments = ["-qX", "-v", "ON_ERROR_STOP=1", uri] + commands.flatMap { ["-c", $0] }
        process.standardOutput = FileHandle.nullDevice
        if let errors { process.standardError = errors }
        try process.run()
        return process
    }

    deinit {
        group.stop()
        if kind == .postgres { try? TestStore.psql("DROP DATABASE \(database) WITH (FORCE)") }
    }
}
