import EventLoop
import Locks
import QueueEngine
import QueueService
import Testing
import TestSupport

@testable import Storage

/// A connection that is lost with the answer to a commit.
@Suite struct DoubtTests {
    let tenant = TenantID(high: 1, low: 1)

    /// Opens a store, and gives it a queue, through a proxy that can lose answers.
    private func open(
        _ home: TestStore, _ proxy: DroppingProxy, pause: (@Sendable (Int) async -> Void)? = nil
    ) async throws -> (PostgresStore, Written) {
        var settings = PostgresSettings()
        (settings.connections, settings.reconnectSeconds, settings.answerSeconds, settings.waitSeconds) = (2, 60, 60, 60)
        if let pause { settings.pause = pause }
        let store = try await PostgresStore.open(
            uri: home.uri(port: proxy.port), loop: EventLoopGroup(count: 1).loops[0], settings: settings)
        try await store.insert(Tenant(id: tenant, name: "t"))
        try await store.takeLease()
        var queue = Written(tenant)
        _ = try await store.append([queue.append { try $0.configure(QueueConfiguration(), at: $1, &$2) }])
        return (store, queue)
    }

    /// Appends, loses the answer, does something meanwhile and lets the store ask again.
    private func append(
        _ append: LogAppend, to store: PostgresStore, _ proxy: DroppingProxy, meanwhile: (() async throws -> Void) = {}
    ) async throws -> [AppendOutcome] {
        proxy.dropNextAnswer()
        let outcomes = Task { try await store.append([append]) }
        #expect(await eventually { proxy.phase == .refusing })
        try await meanwhile()
        proxy.pass()
        return try await outcomes.value
    }

    @Test func committedBatchIsCommittedThoughTheLeaseHasLapsedSince() async throws {
        let home = try await TestStore(.postgres)
        let proxy = DroppingProxy(to: try home.serverPort)
        defer { proxy.stop() }
        var (store, queue) = try await open(home, proxy)
        defer { store.close() }
        let join = try queue.append { _ = try $0.join(lane: 0, at: $1, &$2) }
        let lapse = { try TestStore.psql("UPDATE instances SET expires_at = now() - interval '1 second'", in: home.uri) }
        #expect(try await append(join, to: store, proxy, meanwhile: lapse) == [.committed])
        #expect(try await store.entries(of: queue.record.id, after: join.expected.seq, limit: 9).map(\.event) == join.events.map(\.event))
        // What was not committed stays lapsed.
        #expect(try await store.append([queue.append { $0.announce(at: $1, &$2) }]) == [.lapsed])
    }

    /// A server that refuses to say what has become of a commit is asked again after a pause, for longer each time.
    @Test func refusedQuestionIsRepeatedWithPauses() async throws {
        let home = try await TestStore(.postgres)
        let proxy = DroppingProxy(to: try home.serverPort)
        defer { proxy.stop() }
        let pauses = Lock<[Int]>([])
        var (store, queue) = try await open(home, proxy) { turn in
            pauses.withLock { $0.append(turn) }
            // What the server lacks comes back in the fifth pause.
            if turn == 5 { try? TestStore.psql("ALTER TABLE gone RENAME TO user_sessions", in: home.uri) }
        }
        defer { store.close() }
        let join = try queue.append { _ = try $0.join(lane: 0, at: $1, &$2) }
        let outcomes = try await append(join, to: store, proxy) {
            try TestStore.psql("ALTER TABLE user_sessions RENAME TO gone", in: home.uri)
        }
        #expect(outcomes == [.committed])
        #expect(pauses.withLock { $0 } == [1, 2, 3, 4, 5])
        let lengths = [1, 2, 3, 4, 5, 6, 7, 1_000].map { PostgresSettings.pauseLength(before: $0) }
        #expect(lengths == [50, 100, 200, 400, 800, 1_000, 1_000, 1_000].map { .milliseconds($0) })
    }

    @Test func receiptsWithoutEventsAreTheirOwnProof() async throws {
        let home = try await TestStore(.postgres)
        let proxy = DroppingProxy(to: try home.serverPort)
        defer { proxy.stop() }
        var (store, queue) = try await open(home, proxy)
        defer { store.close() }
        var proof = queue.append { _, _, _ in }
        proof.receipts = [Receipt(tenant: tenant, key: "k", requestHash: [1], result: "r")]
        #expect(try await append(proof, to: store, proxy) == [.committed])
        // Somebody else's receipt under the same key is none.
        var other = queue.append { _, _, _ in }
        other.receipts = [Receipt(tenant: tenant, key: "k", requestHash: [1], result: "s")]
        #expect(try await append(other, to: store, proxy) == [.receiptConflict(index: 0)])
        // An append that holds nothing proves nothing.
        let lapse = { try TestStore.psql("UPDATE instances SET expires_at = now() - interval '1 second'", in: home.uri) }
        #expect(try await append(queue.append { _, _, _ in }, to: store, proxy, meanwhile: lapse) == [.lapsed])
    }
}
