public import EventLoop
import Foundation
public import QueueService
import Storage

/// The homes that a queue can have. What is promised of one is promised of each, and tested with each.
public enum StoreKind: Sendable, CaseIterable { case sqlite, postgres }

/// A new, empty store, which goes with the value that made it.
public final class TestStore: Sendable {
    private let kind: StoreKind
    private let folder = TemporaryFolder()
    private let group: EventLoopGroup
    private let database = "test_" + UUID().uuidString.lowercased().replacing("-", with: "")

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
        case .postgres: try await PostgresStore.open(uri: uri, loop: loop ?? group.loops[0])
        }
    }

    /// Of a Postgres.
    public var uri: String {
        TestStore.server.split(separator: "/", omittingEmptySubsequences: false).dropLast().joined(separator: "/") + "/" + database
    }

    public static var server: String {
        guard let server = ProcessInfo.processInfo.environment["TEST_POSTGRES"] else {
            fatalError("these tests need a Postgres: Scripts/with-databases swift test")
        }
        return server
    }

    /// Runs statements, one after the other in one session, as somebody else would.
    public static func psql(_ commands: String..., in uri: String = TestStore.server) throws {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: "/usr/bin/psql")
        process.arguments = ["-qX", "-v", "ON_ERROR_STOP=1", uri] + commands.flatMap { ["-c", $0] }
        process.standardOutput = FileHandle.nullDevice
        try process.run()
        process.waitUntilExit()
        guard process.terminationStatus == 0 else { throw StoreError.unavailable(commands.joined(separator: "; ")) }
    }

    deinit {
        group.stop()
        if kind == .postgres { try? TestStore.psql("DROP DATABASE \(database) WITH (FORCE)") }
    }
}
