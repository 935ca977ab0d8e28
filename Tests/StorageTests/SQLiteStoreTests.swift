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

    private let tenant = TenantID(high: 1, low: 1)

    /// The store of an instance that has its lease, and one tenant.
    private func openWithTenant() async throws -> SQLiteStore {
        let store = try open()
        try await store.insert(Tenant(id: tenant, name: "t"))
        try await store.takeLease()
        return store
    }

    @Test func aFileThatIsServedFromIsNotServedFromTwice() throws {
        let store = try open()
        #expect(throws: StoreOpenError.locked(folder.file("db"))) { try SQLiteStore(path: folder.file("db"), exclusively: true) }
        try SQLiteStore(path: folder.file("db"), exclusively: false).close()
        store.close()
    }

    /// However many requests write something of their own, a commit waits for one of them at most.
    @Test func smallWritesDoNotStandBeforeCommits() async throws {
        let store = try await openWithTenant()
        defer { store.close() }
        var queue = Written(tenant)
        let append = try queue.append { try $0.configure(QueueConfiguration(), at: $1, &$2) }
        let (id, release) = (queue.record.id, DispatchSemaphore(value: 0))
        // Notes how many had been written when the commit was.
        try await store.writing { db in
            try db.execute(
                sql: """
                    CREATE TEMP TABLE seen (count INTEGER);
                    CREATE TEMP TRIGGER seeing BEFORE INSERT ON log BEGIN INSERT INTO seen SELECT count(*) FROM consumers; END
                    """)
        }
        async let holding: Void = store.writing { _ in release.wait() }
        #expect(await eventually { store.takeLoad().busy == 1 })
        let asked = Counter()
        try await withThrowingTaskGroup(of: Void.self) { group in
            for number in 0..<100 {
                group.addTask {
                    asked.add()
                    try await store.confirm("c\(number)", 1, of: id, tenant: tenant)
                }
            }
            #expect(await eventually { asked.count == 100 && store.takeLoad().waiting > 0 })
            group.addTask {
                let outcomes = try await store.append([append])
                #expect(outcomes == [.committed])
            }
            let waiting = await eventually { store.takeLoad().waiting >= 2 }
            release.signal()
            #expect(waiting)
            try await group.waitForAll()
        }
        try await holding
        let seen = try await store.writing { try Int.fetchOne($0, sql: "SELECT count FROM seen") }
        // One that was under way.
        #expect(seen! <= 1)
        #expect(try await store.writing { try Int.fetchOne($0, sql: "SELECT count(*) FROM consumers") } == 100)
    }

    /// SQLite finds damage when one request's row is written: those that share its transaction are committed.
    @Test func damageFailsNoNeighbourOfASmallWrite() async throws {
        let store = try await openWithTenant()
        defer { store.close() }
        var queue = Written(tenant)
        #expect(try await store.append([try queue.append { try $0.configure(QueueConfiguration(), at: $1, &$2) }]) == [.committed])
        let (id, release) = (queue.record.id, DispatchSemaphore(value: 0))
        try await store.writing { db in
            db.add(function: DatabaseFunction("bad_page", argumentCount: 0) { _ in throw DatabaseError(resultCode: .SQLITE_CORRUPT) })
            try db.execute(
                sql: "CREATE TEMP TRIGGER damage BEFORE INSERT ON consumers WHEN NEW.name = 'c7' BEGIN SELECT bad_page(); END")
        }
        // All but the first share a transaction.
        async let holding: Void = store.writing { _ in release.wait() }
        #expect(await eventually { store.takeLoad().busy == 1 })
        let asked = Counter()
        let failed = await withTaskGroup(of: Int?.self) { group in
            for number in 0..<50 {
                group.addTask {
                    asked.add()
                    do { try await store.confirm("c\(number)", 1, of: id, tenant: tenant) } catch { return number }
                    return nil
                }
            }
            #expect(await eventually { asked.count == 50 && store.takeLoad().waiting > 0 })
            release.signal()
            return await group.reduce(into: Set()) { if let number = $1 { $0.insert(number) } }
        }
        try await holding
        #expect(failed == [7])
        #expect(try await store.writing { try Int.fetchOne($0, sql: "SELECT count(*) FROM consumers") } == 49)
    }

    /// SQLite finds damage when one queue is written: the others of the batch are committed.
    @Test func damageConcernsItsQueueAlone() async throws {
        let store = try await openWithTenant()
        defer { store.close() }
        var queues = (1...5).map { Written(tenant, slug: "q\($0)", id: $0) }
        func appends() throws -> [LogAppend] {
            try queues.indices.map { try queues[$0].append { try $0.configure(QueueConfiguration(), at: $1, &$2) } }
        }
        #expect(try await store.append(try appends()).allSatisfy { $0 == .committed })
        let id = queues[2].record.id.data.map { String(format: "%02x", $0) }.joined()
        try await store.writing { db in
            db.add(function: DatabaseFunction("bad_page", argumentCount: 0) { _ in throw DatabaseError(resultCode: .SQLITE_CORRUPT) })
            try db.execute(
                sql: "CREATE TEMP TRIGGER damage BEFORE INSERT ON log WHEN NEW.queue_id = x'\(id)' BEGIN SELECT bad_page(); END")
        }
        let before = queues[2].state
        let outcomes = try await store.append(try appends())
        for (index, outcome) in outcomes.enumerated() {
            if index == 2 { if case .failed(.corrupt) = outcome { continue } }
            #expect(outcome == .committed && index != 2, "\(index)")
        }
        #expect(try await store.loadQueue(queues[2].record.id)?.image.head == before.head)
    }
}

private final class Counter: Sendable {
    private let value = Atomic(0)
    var count: Int { value.load(ordering: .sequentiallyConsistent) }
    func add() { value.add(1, ordering: .sequentiallyConsistent) }
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
