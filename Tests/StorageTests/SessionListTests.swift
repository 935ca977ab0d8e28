import EventLoop
import GRDB
import QueueEngine
import QueueService
import Testing
import TestSupport

@testable import Storage

/// Lists by every combination of filters.
@Suite struct SessionListTests {
    let tenant = TenantID(high: 1, low: 1)
    let stranger = TenantID(high: 2, low: 2)
    private static let filters = [nil] + SessionStatus.allCases.map { Optional($0) }

    /// Page by page each list has what a look at every session finds, also while a queue's closing is being written.
    @Test(arguments: StoreKind.allCases) func listsHaveWhatTheirFiltersSay(_ kind: StoreKind) async throws {
        let home = try await TestStore(kind)
        let store = try await home.open()
        defer { store.close() }
        for owner in [tenant, stranger] { try await store.insert(Tenant(id: owner, name: "t")) }
        try await store.takeLease()
        let configuration = QueueConfiguration(maxConcurrentUsers: 4, releaseRatePerMinute: 6_000)
        var queues = [
            Written(tenant, slug: "a", id: 7, configuration), Written(tenant, slug: "b", id: 8, configuration),
            Written(stranger, slug: "c", id: 9, configuration),
        ]
        _ = try await store.append(queues.indices.map { try queues[$0].append { try $0.configure(configuration, at: $1, &$2) } })
        var random = SeededRandom(seed: TestSeed.value)
        for round in 0..<40 {
            for index in queues.indices {
                queues[index].now = queues[index].now + .seconds(3)
                let append = try queues[index].append { state, now, log in
                    for _ in 0..<3 where state.status == .open { _ = try state.join(lane: 0, at: now, &log) }
                    if let one = state.admitted.keys.randomElement(using: &random) { try state.complete(one, at: now, &log) }
                    if let one = state.allWaiting.randomElement(using: &random) { try state.leave(one, at: now, &log) }
                    state.advance(to: now, &log)
                }
                #expect(try await store.append([append]) == [.committed])
            }
            if round == 20 { try await close(&queues[0], store, endingAll: true) }
            if round == 30 { try await close(&queues[1], store, endingAll: false) }
        }
        for owner in [tenant, stranger] {
            var all: [SessionRecord] = []
            for queue in queues where queue.record.tenant == owner {
                for number in 1...queue.sessions {
                    all.append(try await #require(store.session(SessionID(high: queue.record.id.high, low: number))))
                }
            }
            all.sort { $0.id.description < $1.id.description }
            for queue in [nil] + queues.map({ Optional($0.record.id) }) {
                for status in SessionListTests.filters {
                    let expected = all.filter { (queue == nil || $0.queue == queue) && (status == nil || $0.status == status) }
                    #expect(try await pages(store, owner, queue, status) == expected, "\(queue as Any) \(status as Any)")
                }
            }
        }
    }

    /// Closes a queue, writes the rows of some who are sent away or of all, and opens it again.
    private func close(_ queue: inout Written, _ store: any QueueStore, endingAll: Bool) async throws {
        #expect(try await store.append([queue.append { $0.close(at: $1, &$2) }]) == [.committed])
        #expect(try await store.endClosed(queue.record.id, limit: 2) == 2)
        while endingAll, try await store.endClosed(queue.record.id, limit: 2) > 0 {}
        #expect(try await store.append([queue.append { try $0.open(at: $1, &$2) }]) == [.committed])
    }

    private func pages(
        _ store: any QueueStore, _ tenant: TenantID, _ queue: QueueID?, _ status: SessionStatus?
    ) async throws -> [SessionRecord] {
        var (found, cursor) = ([SessionRecord](), String?.none)
        repeat {
            let page = try await store.sessions(tenant: tenant, queue: queue, status: status, after: cursor, limit: 7)
            found += page.items
            cursor = page.next
        } while cursor != nil
        return found
    }

    /// Among a million sessions that have ended a page is found by reading about a page, whatever the filters, and with a
    /// plan that was made when the tables were empty as with a new one.
    @Test func pageOfAMillionReadsAboutAPageInPostgres() async throws {
        let home = try await TestStore(.postgres)
        func open() async throws -> PostgresStore {
            var settings = PostgresSettings()
            settings.connections = 1
            return try await PostgresStore.open(uri: home.uri, loop: EventLoopGroup(count: 1).loops[0], settings: settings)
        }
        let old = try await open()
        defer { old.close() }
        for owner in [tenant, stranger] { try await old.insert(Tenant(id: owner, name: "t")) }
        try await old.takeLease()
        var (queue, closing) = (Written(tenant), Written(tenant, slug: "b", id: 8))
        _ = try await old.append([
            queue.append { try $0.configure(QueueConfiguration(), at: $1, &$2) },
            closing.append { try $0.configure(QueueConfiguration(), at: $1, &$2) },
        ])
        _ = try await old.append([try closing.append { for _ in 0..<300 { _ = try $0.join(lane: 0, at: $1, &$2) } }])
        _ = try await old.append([closing.append { $0.close(at: $1, &$2) }])
        try await readAll(old, queue.record.id)
        // What is read is counted for the table: nobody else may read there meanwhile.
        try TestStore.psql("ALTER TABLE user_sessions SET (autovacuum_enabled = false)", in: home.uri)
        try TestStore.psql(
            """
            INSERT INTO user_sessions (queue_id, ticket, id, tenant_id, status, created_at, ended_at)
            SELECT '\(queue.record.id)', n, gen_random_uuid(), '\(tenant)',
                CASE WHEN n % 3 = 0 THEN 'left' WHEN n % 3 = 1 THEN 'completed' ELSE 'expired' END, now(), now()
            FROM generate_series(1, 1000000) n
            """, in: home.uri)
        try await expectFewRows(old, queue.record.id, "planned when empty")
        try TestStore.psql("ANALYZE", in: home.uri)
        let new = try await open()
        defer { new.close() }
        try await expectFewRows(new, queue.record.id, "planned when full")
    }

    private func readAll(_ store: PostgresStore, _ queue: QueueID) async throws {
        for (owner, queue, status) in combinations(queue) {
            _ = try await store.sessions(tenant: owner, queue: queue, status: status, after: nil, limit: 50)
        }
    }

    private func combinations(_ queue: QueueID) -> [(TenantID, QueueID?, SessionStatus?)] {
        [tenant, stranger].flatMap { owner in
            [nil, queue].flatMap { queue in SessionListTests.filters.map { (owner, queue, $0) } }
        }
    }

    private func expectFewRows(_ store: PostgresStore, _ queue: QueueID, _ what: String) async throws {
        func read() async throws -> (rows: Int64, blocks: Int64) {
            // What a session has read is told when it is idle.
            _ = await store.run([PostgresCall("SELECT pg_stat_force_next_flush()::text")], seconds: 5)
            let row = try await store.rows(
                PostgresCall(
                    """
                    SELECT (SELECT coalesce(sum(idx_tup_read), 0)::bigint FROM pg_stat_user_indexes WHERE relname = 'user_sessions')
                        + (SELECT seq_tup_read FROM pg_stat_user_tables WHERE relname = 'user_sessions'),
                        (SELECT heap_blks_read + heap_blks_hit + idx_blks_read + idx_blks_hit FROM pg_statio_user_tables
                            WHERE relname = 'user_sessions')
                    """))[0]
            return (try row.get(0), try row.get(1))
        }
        for (owner, queue, status) in combinations(queue) {
            let before = try await read()
            let page = try await store.sessions(tenant: owner, queue: queue, status: status, after: nil, limit: 50)
            let after = try await read()
            let about =
                "\(what): \(owner == tenant ? "own" : "stranger's") \(queue == nil ? "tenant" : "queue") \(status?.rawValue ?? "all")"
            #expect(after.rows - before.rows <= 8 * 51, "\(about): rows, of a page of \(page.items.count)")
            #expect(after.blocks - before.blocks <= 16 * 51, "\(about): blocks")
        }
    }

    /// The plans of SQLite: every look into the sessions is a search by the index of the filter, in its order.
    @Test func plansOfAMillionAreSearchesInSQLite() async throws {
        let folder = TemporaryFolder()
        let store = try SQLiteStore(path: folder.file("db"), exclusively: true)
        defer { store.close() }
        for owner in [tenant, stranger] { try await store.insert(Tenant(id: owner, name: "t")) }
        try await store.takeLease()
        var queue = Written(tenant)
        _ = try await store.append([queue.append { try $0.configure(QueueConfiguration(), at: $1, &$2) }])
        let arguments: StatementArguments = [queue.record.id.data, tenant.data]
        _ = try await store.writing { db in
            try db.execute(
                sql: """
                    WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 1000000)
                    INSERT INTO user_sessions (queue_id, ticket, id, tenant_id, status, created_at, ended_at)
                    SELECT ?, n, CAST(printf('%016d', n) AS BLOB), ?, CASE n % 3 WHEN 0 THEN 'left' WHEN 1 THEN 'completed' ELSE 'expired' END, n, n
                    FROM n
                    """, arguments: arguments)
            try db.execute(sql: "ANALYZE")
            return db.changesCount
        }
        for (owner, queue, status) in combinations(queue.record.id) {
            let list = SessionList(tenant: owner.data, queue: queue?.data, status: status, after: .init(), limit: 51)
            for statement in list.statements { try await expectSearches(store, statement.sql, statement.arguments) }
            let page = try await store.sessions(tenant: owner, queue: queue, status: status, after: nil, limit: 50)
            let isFull = owner == tenant && ![.waiting, .admitted].contains(status)
            #expect(page.items.count == (isFull ? 50 : 0))
        }
        for (table, key, column, index) in [
            ("user_sessions", "queue_id, ticket", "ended_at", "idx_user_sessions_ended"),
            ("receipts", "tenant_id, key", "created_at", "idx_receipts_created"),
            ("announcements", "queue_id, seq", "expires_at", "idx_announcements_expires"),
        ] {
            try await expectSearches(store, SQLiteStore.deletion(table, key, by: column, index), [0, 10])
        }
    }

    private func expectSearches(_ store: SQLiteStore, _ sql: String, _ arguments: StatementArguments) async throws {
        let plan = try await store.reading { db in
            try Row.fetchAll(db, sql: "EXPLAIN QUERY PLAN " + sql, arguments: arguments).map { $0["detail"] as String }
        }
        for step in plan where step.contains("user_sessions") || step.contains(" w ") || step.hasPrefix("SCAN") {
            #expect(step.hasPrefix("SEARCH"), "\(plan)")
        }
        if !sql.contains("CROSS JOIN") { #expect(!plan.contains { $0.contains("TEMP B-TREE") }, "\(plan)") }
    }
}
