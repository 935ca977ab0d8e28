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
