import Dispatch
import Foundation
import QueueEngine
import QueueService
import Synchronization
import Testing
import TestSupport

@testable import Storage

@Suite struct SQLiteStoreTests {
    let folder = TemporaryFolder()
    let tenant = Tenant(id: TenantID(high: 1, low: 1), name: "t")

    private func open() async throws -> SQLiteStore {
        let store = try SQLiteStore(path: folder.file("db"), exclusively: true)
        if try await store.tenants().isEmpty { try await store.insert(tenant) }
        return store
    }

    /// A queue in memory whose every command goes to the store.
    private struct Written {
        let record: QueueRecord
        var state = QueueState()
        var now = Timestamp(seconds: 1_700_000_000)
        var sessions: UInt64 = 0

        init(_ tenant: TenantID, slug: String = "a", id: UInt64 = 7, _ configuration: QueueConfiguration = QueueConfiguration()) {
            record = QueueRecord(
                id: QueueID(high: id, low: id), tenant: tenant, epoch: .max, slug: slug, name: "A", configuration: configuration,
                createdAt: Timestamp(seconds: 1))
        }

        mutating func append(_ command: (inout QueueState, Timestamp, inout [QueueEvent]) throws -> Void) rethrows -> LogAppend {
            let base = state.head
            var events: [QueueEvent] = []
            try command(&state, now, &events)
            var append = LogAppend(record: record, expectedHead: base, status: state.status, counters: state.counters)
            for event in events {
                if case .joined = event.change {
                    sessions += 1
                    append.events.append(
                        (event, .session(SessionID(high: record.id.high, low: sessions), Visitor(user: "u\(sessions)", metadata: "{}"))))
                } else if case .announced = event.change {
                    append.events.append((event, .announcement(text: "ä", .critical, expiresAt: nil)))
                } else {
                    append.events.append((event, .none))
                }
            }
            return append
        }
    }

    /// Random histories: after each batch what the store gives back is the state that was written, and so is what its
    /// log makes of nothing.
    @Test func whatIsReadIsWhatWasWritten() async throws {
        let store = try await open()
        var random = SeededRandom(seed: TestSeed.value)
        let configuration = QueueConfiguration(
            maxConcurrentUsers: 5, graceSeconds: 10, priorityLanes: [PriorityLane(name: "p", sharePercent: 30)])
        var queue = Written(tenant.id, configuration)
        #expect(try await store.append([queue.append { $0.configure(configuration, at: $1, &$2) }]) == [.committed])
        for _ in 0..<150 {
            queue.now = queue.now + .milliseconds(Int.random(in: 0...4_000, using: &random))
            let someone = (0..<3).compactMap { _ in
                (queue.state.allWaiting + Array(queue.state.admitted.keys)).randomElement(using: &random)
            }
            let choice = Int.random(in: 0..<9, using: &random)
            let lane = Int.random(in: 0...1, using: &random)
            let append = queue.append { state, now, log in
                switch choice {
                case 0...2: for _ in 0..<3 { _ = try? state.join(lane: lane, at: now, &log) }
                case 3: state.disconnect(someone, at: now, &log)
                case 4: state.connect(someone, at: now, &log)
                case 5: if let one = someone.first { try? state.leave(one, at: now, &log) }
                case 6: if let one = someone.first { try? state.complete(one, at: now, &log) }
                case 7: state.announce(at: now, &log)
                default: if state.status == .open { try? state.pause(at: now, &log) } else { try? state.resume(at: now, &log) }
                }
                state.advance(to: now, &log)
            }
            guard !append.events.isEmpty else { continue }
            #expect(try await store.append([append]) == [.committed])
        }
        let stored = try #require(await store.loadQueue(queue.record.id))
        #expect(QueueState(stored.image) == queue.state)
        #expect(stored.record.epoch == .max)
        var replayed = QueueState()
        for entry in try await store.entries(of: queue.record.id, after: 0, limit: 100_000) { replayed.apply(entry.event) }
        #expect(replayed == queue.state)
    }

    @Test func aLostRaceChangesNothingAndItsNeighbourStands() async throws {
        let store = try await open()
        var (a, b) = (Written(tenant.id), Written(tenant.id, slug: "b", id: 8))
        _ = try await store.append([
            a.append { $0.configure(QueueConfiguration(), at: $1, &$2) }, b.append { $0.configure(QueueConfiguration(), at: $1, &$2) },
        ])
        var late = a
        let won = try a.append { _ = try $0.join(lane: 0, at: $1, &$2) }
        let lost = try late.append { _ = try $0.join(lane: 0, at: $1, &$2) }
        #expect(try await store.append([won]) == [.committed])
        #expect(try await store.append([lost, b.append { $0.announce(at: $1, &$2) }]) == [.behind, .committed])
        #expect(try await store.entries(of: a.record.id, after: 0, limit: 10).count == 3)
    }

    @Test func conflictsNameTheirAuthor() async throws {
        let store = try await open()
        var queue = Written(tenant.id)
        _ = try await store.append([queue.append { $0.configure(QueueConfiguration(), at: $1, &$2) }])
        var second = try queue.append { for _ in 0..<2 { _ = try $0.join(lane: 0, at: $1, &$2) } }
        second.events[1].detail = .session(SessionID(high: 5, low: 5), Visitor(user: "u1"))
        #expect(try await store.append([second]) == [.userConflict(eventIndex: 1)])
        #expect(try await store.currentSession(user: "u1", queue: queue.record.id) == nil)
        second.events[1].detail = .session(SessionID(high: 5, low: 5), Visitor(user: "u2"))
        let receipt = Receipt(tenant: tenant.id, key: "k", requestHash: [1], result: "r")
        second.receipts = [receipt]
        #expect(try await store.append([second]) == [.committed])
        #expect(try await store.receipt(tenant: tenant.id, key: "k") == receipt)
        var third = queue.append { $0.announce(at: $1, &$2) }
        third.receipts = [receipt]
        #expect(try await store.append([third]) == [.receiptConflict(index: 0)])
        var other = Written(tenant.id, id: 9)
        #expect(try await store.append([other.append { $0.configure(QueueConfiguration(), at: $1, &$2) }]) == [.slugTaken])
    }

    @Test func everythingIsThereAfterItIsOpenedAgain() async throws {
        let secret = StoredSecret(id: "s", purpose: "p", value: [1, 2], createdAt: Timestamp(seconds: 5))
        let key = APIKey(id: KeyID(high: 1, low: 2), tenant: tenant.id, role: .operator, hash: [9], label: "l")
        do {
            let store = try await open()
            try await store.insert(secret)
            try await store.insert(key)
            store.close()
        }
        let store = try await open()
        #expect(try await store.secrets("p") == [secret])
        #expect(try await store.keys() == [key])
        #expect(try await !store.deleteKey(key.id, tenant: TenantID(high: 2, low: 2)))
        #expect(try await store.deleteKey(key.id, tenant: tenant.id))
    }

    /// An instance that ends stops its loops while reads may be under way; what they were for is never told.
    @Test func aReadWhoseCallerIsGoneDoesNotKeepTheFileOpen() async throws {
        let store = try await open()
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

    @Test func aFileThatIsServedFromIsNotServedFromTwice() async throws {
        let store = try await open()
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
