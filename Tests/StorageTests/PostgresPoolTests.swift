import EventLoop
import Locks
import QueueEngine
import QueueService
import Testing
import TestSupport

@testable import Storage

/// Who gets a connection, and what a lost one means.
@Suite struct PostgresPoolTests {
    let tenant = TenantID(high: 1, low: 1)

    private static func open(_ uri: String, _ change: (inout PostgresSettings) -> Void = { _ in }) async throws -> PostgresStore {
        var settings = PostgresSettings()
        change(&settings)
        return try await PostgresStore.open(uri: uri, loop: EventLoopGroup(count: 1).loops[0], settings: settings)
    }

    private static func sleep(_ seconds: Double) -> PostgresCall {
        PostgresCall("SELECT pg_sleep($1::double precision)::text").with(seconds)
    }

    /// Runs slow statements until they are ended from outside.
    private static func occupy(_ store: PostgresStore, _ lane: PostgresLane, _ count: Int) -> [Task<Bool, Never>] {
        (0..<count).map { _ in
            Task {
                if case .success = await store.run([sleep(600)], seconds: 600, lane: lane) { true } else { false }
            }
        }
    }

    /// Closes the store, which fails those who wait, and ends what runs.
    private static func end(_ slow: [Task<Bool, Never>], _ store: PostgresStore, _ home: TestStore) async throws {
        store.close()
        try TestStore.psql(
            """
            SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
            WHERE application_name = 'stanchion' AND datname = current_database()
            """, in: home.uri)
        for task in slow { _ = await task.value }
    }

    @Test func readsLeaveConnectionsForCommitsAndListsLeaveOneForLookups() async throws {
        let home = try await TestStore(.postgres)
        let store = try await PostgresPoolTests.open(home.uri) { $0.waitSeconds = 600 }
        defer { store.close() }
        try await store.insert(Tenant(id: tenant, name: "t"))
        let lists = PostgresPoolTests.occupy(store, .lists, 20)
        #expect(await eventually { store.takeLoad().waiting == 19 })
        // The lists are all still there: their statements end only when they are cancelled.
        #expect(try await store.tenants().count == 1)
        let lookups = PostgresPoolTests.occupy(store, .lookups, 20)
        #expect(await eventually { store.takeLoad().waiting == 19 + 19 })
        try await store.takeLease()
        var queue = Written(tenant)
        #expect(try await store.append([queue.append { try $0.configure(QueueConfiguration(), at: $1, &$2) }]) == [.committed])
        #expect(store.takeLoad().waiting == 19 + 19)
        try await PostgresPoolTests.end(lists + lookups, store, home)
    }

    /// Whatever is looked up meanwhile, an instance reads what it must know to decide.
    @Test func lookUpsDelayNoReadingThatDecisionsWaitFor() async throws {
        let home = try await TestStore(.postgres)
        let store = try await PostgresPoolTests.open(home.uri) { ($0.connections, $0.waitSeconds) = (4, 2) }
        defer { store.close() }
        try await store.insert(Tenant(id: tenant, name: "t"))
        try await store.takeLease()
        var queue = Written(tenant)
        _ = try await store.append([queue.append { try $0.configure(QueueConfiguration(), at: $1, &$2) }])
        _ = try await store.append([queue.append { _ = try $0.join(lane: 0, at: $1, &$2) }])
        let slow = PostgresPoolTests.occupy(store, .lookups, 2)
        #expect(await eventually { store.takeLoad().busy == 2 })
        await #expect(throws: StoreError.self) { try await store.tenants() }
        let id = queue.record.id
        #expect(try await store.missedEntries(of: id, after: 0, limit: 10).map(\.event.seq) == [1, 2, 3])
        #expect(try await store.held(by: store.writer, in: id) == [Ticket(lane: 0, number: 1)])
        #expect(try await store.wakingQueues(after: .first, through: queue.now + .seconds(1), limit: 10).map(\.queue) == [id])
        try await PostgresPoolTests.end(slow, store, home)
    }

    /// What has been answered.
    private final class Finished: Sendable {
        private let lanes = Lock<[PostgresLane]>([])
        func note(_ lane: PostgresLane) { lanes.withLock { $0.append(lane) } }
        /// How many came before the last of `lane`.
        func before(last lane: PostgresLane) -> Int { lanes.withLock { $0.lastIndex(of: lane) ?? 0 } }
    }

    /// However many requests look something up, whoever joins under a name does not wait behind all of them.
    @Test func joinsTakeTurnsWithLookUps() async throws {
        let home = try await TestStore(.postgres)
        let store = try await PostgresPoolTests.open(home.uri) { ($0.connections, $0.waitSeconds) = (2, 600) }
        defer { store.close() }
        let finished = Finished()
        // One connection is shared; until it is free everybody waits.
        let slow = PostgresPoolTests.occupy(store, .lookups, 1)
        #expect(await eventually { store.takeLoad().busy == 1 })
        let lookups = (0..<20).map { _ in
            Task {
                _ = try? await store.tenants()
                finished.note(.lookups)
            }
        }
        #expect(await eventually { store.takeLoad().waiting == 20 })
        let joins = (0..<3).map { _ in
            Task {
                _ = try? await store.currentSession(user: "a", queue: QueueID(high: 1, low: 1), joining: true)
                finished.note(.joins)
            }
        }
        #expect(await eventually { store.takeLoad().waiting == 23 })
        try TestStore.psql(
            """
            SELECT count(pg_cancel_backend(pid)) FROM pg_stat_activity
            WHERE state = 'active' AND pid <> pg_backend_pid() AND datname = current_database()
            """, in: home.uri)
        for task in joins { await task.value }
        for task in lookups { await task.value }
        #expect(finished.before(last: .joins) < 15)
        for task in slow { _ = await task.value }
    }

    @Test func fullPoolIsBusyAndNotUnavailable() async throws {
        let home = try await TestStore(.postgres)
        let store = try await PostgresPoolTests.open(home.uri) { ($0.connections, $0.maximumWaiting, $0.waitSeconds) = (2, 1, 1) }
        defer { store.close() }
        let slow = PostgresPoolTests.occupy(store, .lookups, 1)
        #expect(await eventually { store.takeLoad().busy == 1 })
        let errors = await withTaskGroup(of: StoreError?.self) { group in
            for _ in 0..<2 {
                group.addTask {
                    do throws(StoreError) { _ = try await store.tenants() } catch { return error }
                    return nil
                }
            }
            return await group.reduce(into: []) { $0.append($1) }
        }
        #expect(
            Set(errors) == [.busy("too many requests wait for a connection"), .busy("no connection was free within its time limit")])
        try await PostgresPoolTests.end(slow, store, home)
    }

    /// A statement whose caller has stopped waiting ends at the server, too, also where it has switched its limit off.
    @Test func statementsThatAreGivenUpEndAtTheServer() async throws {
        let home = try await TestStore(.postgres)
        let store = try await PostgresPoolTests.open(home.uri)
        defer { store.close() }
        func count() async throws -> Int64 {
            try await store.rows(
                PostgresCall(
                    """
                    SELECT count(*) FROM pg_stat_activity
                    WHERE state = 'active' AND pid <> pg_backend_pid() AND datname = current_database() AND query LIKE '%pg_sleep%'
                    """))[0].get(0)
        }
        let limited = await store.run([PostgresPoolTests.sleep(60)], seconds: 1)
        #expect(throws: PostgresError.self) { try limited.get() }
        let unlimited = await store.run([PostgresCall("SET statement_timeout = 0"), PostgresPoolTests.sleep(60)], seconds: 1)
        #expect(throws: PostgresError.self) { try unlimited.get() }
        #expect(try await eventually(within: 20) { try await count() == 0 })
    }

    /// As long as the server takes connections nobody is told that one was lost, however often that happens.
    @Test func cutConnectionsFailNobody() async throws {
        let home = try await TestStore(.postgres)
        let store = try await PostgresPoolTests.open(home.uri)
        defer { store.close() }
        try await store.insert(Tenant(id: tenant, name: "t"))
        let uri = home.uri
        let cutting = Cutting()
        try await withThrowingTaskGroup { group in
            group.addTask {
                defer { cutting.isOn.withLock { $0 = false } }
                for _ in 0..<20 {
                    try TestStore.psql(
                        """
                        SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
                        WHERE application_name = 'stanchion' AND datname = current_database()
                        """, in: uri)
                }
            }
            for _ in 0..<4 {
                group.addTask { while cutting.isOn.withLock({ $0 }) { _ = try await store.tenants() } }
            }
            group.addTask { while cutting.isOn.withLock({ $0 }) { try await store.takeLease() } }
            try await group.waitForAll()
        }
    }

    /// A server that is away for a moment is waited for; one that stays away is not.
    @Test func serverIsWaitedForUntilTheLimit() async throws {
        let home = try await TestStore(.postgres)
        let proxy = DroppingProxy(to: try home.serverPort)
        defer { proxy.stop() }
        let patient = try await PostgresPoolTests.open(home.uri(port: proxy.port)) { ($0.reconnectSeconds, $0.answerSeconds) = (600, 600) }
        defer { patient.close() }
        proxy.dropNextAnswer()
        let waiting = Task { try await patient.tenants() }
        #expect(await eventually { proxy.phase == .refusing })
        proxy.pass()
        #expect(try await waiting.value.isEmpty)
        let store = try await PostgresPoolTests.open(home.uri(port: proxy.port)) { $0.reconnectSeconds = 1 }
        defer { store.close() }
        proxy.dropNextAnswer()
        await #expect(throws: StoreError.self) { try await store.tenants() }
        let error = await #expect(throws: StoreError.self) { try await store.tenants() }
        guard case .unavailable = error else { return #expect(error == .unavailable("")) }
        proxy.pass()
        #expect(await eventually { (try? await store.tenants()) != nil })
    }

    @Test func databaseThatIsNotUTF8IsRefused() async throws {
        let home = try await TestStore(.postgres)
        try TestStore.psql(
            "CREATE DATABASE \(home.database)_latin ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0")
        defer { try? TestStore.psql("DROP DATABASE \(home.database)_latin WITH (FORCE)") }
        let loop = try EventLoopGroup(count: 1).loops[0]
        for open in [
            { _ = try await PostgresPoolTests.open(home.uri + "_latin") },
            { _ = try await PostgresStore.isCurrent(uri: home.uri + "_latin", loop: loop) },
            { _ = try await PostgresStore.examine(uri: home.uri + "_latin", loop: loop) },
        ] as [() async throws -> Void] {
            let error = await #expect(throws: StoreOpenError.self) { try await open() }
            #expect(error?.description.contains("LATIN1") == true && error?.description.contains("UTF8") == true)
        }
    }
}

private final class Cutting: Sendable {
    let isOn = Lock(true)
}
