import Dispatch
import Foundation
import GRDB
import QueueEngine
import QueueService
import Synchronization
import Testing
import TestSupport

@testable import Storage

@Suite struct SQLiteStoreTests {
    let folder = TemporaryFolder()

    private func open() throws -> SQLiteStore { try SQLiteStore(path: folder.file("db"), exclusively: true) }

    /// An instance that ends stops its loops while reads may be under way; what they were for is never told.
    @Test func aReadWhoseCallerIsGoneDoesNotKeepTheFileOpen() async throws {
        let store = try open()
        let caller = EndingExecutor()
        Task(executorPreference: caller) { try await store.reading { _ in caller.end() } }
        #expect(await eventually { caller.hasEnded })
        let isClosed = Flag()
        Thread.detachNewThread {
            store.close()
            isClosed.set()
        }
        #expect(await eventually { isClosed.isSet })
    }

    /// However many lists are read at once and however long they take, single rows are read and commits are made beside them.
    @Test func listsLeaveAReaderForSingleRows() async throws {
        var limits = PostgresSettings()
        limits.lists = 10
        limits.waitSeconds = 600
        let store = try SQLiteStore(path: folder.file("db"), exclusively: true, limits: limits)
        let tenant = TenantID(high: 1, low: 1)
        try await store.insert(Tenant(id: tenant, name: "t"))
        try await store.takeLease()
        var queue = Written(tenant)
        _ = try await store.append([queue.append { try $0.configure(QueueConfiguration(), at: $1, &$2) }])
        _ = try await store.append([queue.append { _ = try $0.join(lane: 0, at: $1, &$2) }])
        let held = DispatchSemaphore(value: 0)
        try await addHold(to: store, held)
        let lists = (0..<20).map { _ in
            Task { try await store.sessions(tenant: tenant, queue: nil, status: .waiting, after: nil, limit: 10).items.count }
        }
        #expect(await eventually { store.takeLoad().busy == 3 })
        let isRead = Flag()
        let append = queue.append { $0.announce(at: $1, &$2) }
        let others = Task { () async throws -> [AppendOutcome] in
            for _ in 0..<20 { _ = try await store.tenants() }
            defer { isRead.set() }
            return try await store.append([append])
        }
        #expect(await eventually { isRead.isSet })
        for _ in lists { held.signal() }
        for list in lists { #expect(try await list.value == 1) }
        #expect(try await others.value == [.committed])
        store.close()
    }

    /// From now on a list that has found a session waits for `held`, on whichever of the four readers.
    private func addHold(to store: SQLiteStore, _ held: DispatchSemaphore) async throws {
        try await store.pool.write { db in
            try db.execute(
                sql: "DROP VIEW sessions; CREATE VIEW sessions AS SELECT * FROM user_sessions WHERE hold();")
        }
        let (arrived, all) = (DispatchSemaphore(value: 0), DispatchSemaphore(value: 0))
        let readers = (0..<4).map { _ in
            Task {
                try await store.reading { db in
                    db.add(
                        function: DatabaseFunction("hold", argumentCount: 0) { _ in
                            held.wait()
                            return 1
                        })
                    arrived.signal()
                    // Each takes a reader of its own.
                    all.wait()
                }
            }
        }
        await withCheckedContinuation { continuation in
            Thread.detachNewThread {
                for _ in 0..<4 { arrived.wait() }
                for _ in 0..<4 { all.signal() }
                continuation.resume()
            }
        }
        for reader in readers { try await reader.value }
    }

    @Test func aFileThatIsServedFromIsNotServedFromTwice() throws {
        let store = try open()
        #expect(throws: StoreOpenError.locked(folder.file("db"))) { try SQLiteStore(path: folder.file("db"), exclusively: true) }
        try SQLiteStore(path: folder.file("db"), exclusively: false).close()
        store.close()
    }
}

private final class Flag: Sendable {
    private let value = Atomic(false)
    var isSet: Bool { value.load(ordering: .sequentiallyConsistent) }
    func set() { value.store(true, ordering: .sequentiallyConsistent) }
}

/// Runs jobs until it is ended, and none from then on, as a loop does.
private final class EndingExecutor: TaskExecutor {
    private let ended = Flag()
    private let queue = DispatchQueue(label: "caller")
    var hasEnded: Bool { ended.isSet }

    func end() { ended.set() }

    func enqueue(_ job: consuming ExecutorJob) {
        let job = UnownedJob(job)
        queue.async { [self] in if !hasEnded { job.runSynchronously(on: asUnownedTaskExecutor()) } }
    }
}
