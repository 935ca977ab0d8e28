import Foundation
import EventLoop
import QueueEngine
import QueueService
import Testing
import TestSupport

@testable import Storage

/// What is a server's alone: connections, time limits, what is refused.
@Suite struct PostgresStoreTests {
    let tenant = TenantID(high: 1, low: 1)

    private static func slow(_ seconds: Double) -> PostgresCall {
        PostgresCall("SELECT pg_sleep($1::double precision)::text").with(seconds)
    }

    private static func limited(_ home: TestStore, _ change: (inout PostgresSettings) -> Void) async throws -> PostgresStore {
        var settings = PostgresSettings()
        // As long as a busy machine needs, where a test says nothing else.
        settings.answerSeconds = 120
        change(&settings)
        return try await PostgresStore.open(uri: home.uri, loop: EventLoopGroup(count: 1).loops[0], settings: settings)
    }

    /// Waits for a lock for a moment.
    private static let patient: @Sendable (inout PostgresSettings) -> Void = {
        ($0.lockMilliseconds, $0.suspectsMilliseconds) = (500, 60_000)
    }

    /// One with the tenant and a lease.
    private func writable(_ home: TestStore, _ change: (inout PostgresSettings) -> Void = { _ in }) async throws -> PostgresStore {
        let store = try await PostgresStoreTests.limited(home, change)
        try await store.insert(Tenant(id: tenant, name: "t"))
        try await store.takeLease()
        return store
    }

    @Test func requestsWaitForAConnectionButNotWithoutEnd() async throws {
        let home = try await TestStore(.postgres)
        let store = try await PostgresStoreTests.limited(home) { ($0.connections, $0.maximumWaiting, $0.waitSeconds) = (1, 2, 1) }
        defer { store.close() }
        let results = await withTaskGroup { group in
            for _ in 0..<5 { group.addTask { await store.run([PostgresStoreTests.slow(1.5)], seconds: 10) } }
            return await group.reduce(into: []) { $0.append($1) }
        }
        let errors = results.compactMap { result in if case .failure(let error) = result { error.message } else { nil } }
        #expect(errors.filter { $0.hasPrefix("too many") }.count == 2)
        #expect(errors.filter { $0.hasPrefix("no connection was free") }.count == 2)
        #expect(errors.count == 4)
        // And all of it is over.
        #expect(try await store.tenants().isEmpty)
    }

    @Test func whatFailsHasNotHappenedAndHarmsNobody() async throws {
        let home = try await TestStore(.postgres)
        let store = try await PostgresStoreTests.limited(home) { $0.connections = 1 }
        defer { store.close() }
        let insert = PostgresCall("INSERT INTO tenants VALUES ($1, 'x')").with(tenant)
        let wrong = await store.run([insert, PostgresCall("SELECT 1 / (SELECT count(*) FROM keys)"), insert], seconds: 5)
        #expect(throws: PostgresError.self) { try wrong.get() }
        // An explicit transaction is not left open for whoever comes next.
        let open = await store.run([PostgresCall("BEGIN"), insert], seconds: 5)
        #expect(throws: Never.self) { try open.get() }
        #expect(try await store.tenants().isEmpty)
    }

    /// Values that exceed a limit of the server are the request's own affair, too.
    @Test func keyThatIsTooLongForAnIndexIsRejected() async throws {
        let home = try await TestStore(.postgres)
        let store = try await home.open()
        defer { store.close() }
        try await store.insert(Tenant(id: tenant, name: "t"))
        try await store.takeLease()
        var queue = Written(tenant)
        _ = try await store.append([queue.append { try $0.configure(QueueConfiguration(), at: $1, &$2) }])
        var join = try queue.append { _ = try $0.join(lane: 0, at: $1, &$2) }
        var random = SeededRandom(seed: 1)
        let user = String((0..<20_000).map { _ in Character(Unicode.Scalar(UInt8.random(in: 33...126, using: &random))) })
        join.events[0].detail = .session(SessionID(high: 1, low: 1), Visitor(user: user))
        guard case .failed(.rejected) = try await store.append([join])[0] else { return #expect(Bool(false), "it was taken") }
        // The longest that is let in has room.
        join.events[0].detail = .session(SessionID(high: 1, low: 1), Visitor(user: String(repeating: "\u{1F600}", count: 128)))
        #expect(try await store.append([join]) == [.committed])
    }

    /// Its connections are cut in the middle of commits, again and again: each append is in the log, once.
    @Test func anAppendWhoseConnectionIsCutHappensOnce() async throws {
        let home = try await TestStore(.postgres)
        let store = try await writable(home)
        defer { store.close() }
        var queue = Written(tenant)
        _ = try await store.append([queue.append { try $0.configure(QueueConfiguration(), at: $1, &$2) }])
        try await withThrowingTaskGroup { group in
            let uri = home.uri
            group.addTask {
                for _ in 0..<12 {
                    try TestStore.psql(
                        """
                        SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
                        WHERE application_name = 'stanchion' AND datname = current_database()
                        """, in: uri)
                }
            }
            for _ in 0..<400 {
                let append = try queue.append { _ = try $0.join(lane: 0, at: $1, &$2) }
                #expect(try await store.append([append]) == [.committed])
            }
            try await group.waitForAll()
        }
        #expect(try await QueueState(#require(store.loadQueue(queue.record.id)).image) == queue.state)
    }

    /// Runs `change` in a transaction that is committed once `body` has returned.
    private func holding(_ change: PostgresCall, at home: TestStore, _ body: () async throws -> Void) async throws {
        let others = try await PostgresStoreTests.limited(home) {
            ($0.connections, $0.answerSeconds, $0.lockMilliseconds) = (8, 1_200, 1_200_000)
        }
        defer { others.close() }
        let (lock, sleep) = (PostgresCall("SELECT pg_advisory_xact_lock(1)::text"), PostgresCall("SELECT pg_sleep(1200)::text"))
        func locks(_ granted: String) async throws -> Int64? {
            try await others.row(
                PostgresCall(
                    """
                    SELECT count(*) FROM pg_locks l JOIN pg_database d ON d.oid = l.database
                    WHERE locktype = 'advisory' AND datname = current_database() AND granted::text = $1
                    """
                ).with(granted))?.get(0)
        }
        async let gate = others.run([lock, sleep], seconds: 1_200)
        #expect(try await eventually { try await locks("true") == 1 })
        async let held = others.run([change, lock], seconds: 1_200)
        #expect(try await eventually { try await locks("false") == 1 })
        let outcome: Result<Void, any Error>
        do { outcome = .success(try await body()) } catch { outcome = .failure(error) }
        try TestStore.psql(
            "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep%' AND datname = current_database()",
            in: home.uri)
        _ = await (gate, held)
        try outcome.get()
    }

    enum LockedRow: CaseIterable { case queue, session, receipt }

    /// A transaction that stays open, as an administrator's at lunch, holds up the queue of which it has changed a row, and no other.
    @Test(arguments: LockedRow.allCases) func rowThatIsLockedHoldsUpItsQueueAlone(_ row: LockedRow) async throws {
        let home = try await TestStore(.postgres)
        let store = try await writable(home, PostgresStoreTests.patient)
        defer { store.close() }
        var queues = (0..<9).map { Written(tenant, slug: "q\($0)", id: UInt64(10 + $0)) }
        for index in queues.indices {
            let append = try queues[index].append {
                try $0.configure(QueueConfiguration(), at: $1, &$2)
                _ = try $0.join(lane: 0, at: $1, &$2)
            }
            #expect(try await store.append([append]) == [.committed])
        }
        var locked = queues.remove(at: 4)
        var leaving = try locked.append { try $0.leave(Ticket(lane: 0, number: 1), at: $1, &$2) }
        leaving.receipts = [Receipt(tenant: tenant, key: "k", requestHash: [1], result: "r")]
        let leave = leaving
        let lock =
            switch row {
            case .queue: PostgresCall("UPDATE queues SET name = 'by hand' WHERE id = $1").with(locked.record.id)
            case .session: PostgresCall("UPDATE user_sessions SET display_name = 'Bob' WHERE queue_id = $1").with(locked.record.id)
            case .receipt:
                PostgresCall("INSERT INTO receipts (tenant_id, key, request_hash, result) VALUES ($1, 'k', 'h', 'r')").with(tenant)
            }
        let second = try await PostgresStoreTests.limited(home, PostgresStoreTests.patient)
        defer { second.close() }
        let rival = InstanceID(high: 2, low: 2)
        _ = try await store.beat(rival, lease: .seconds(3_600), capacity: nil, after: .none, known: [])
        try await holding(lock, at: home) {
            // Two at once, of which one waits for the other's turn to wait.
            async let late = second.append([leave], by: rival)
            guard case .failed(.busy) = try await store.append([leave])[0], case .failed(.busy) = try await late[0] else {
                return #expect(Bool(false), "it was not told that a row is locked")
            }
            // Who has found it out knows it the next time, and where it was forgotten finds it among others.
            for isForgotten in [false, true, false] {
                if isForgotten { store.suspects.withLock { $0 = [] } }
                var batch: [LogAppend] = []
                for index in queues.indices { batch.append(try queues[index].append { _ = try $0.join(lane: 0, at: $1, &$2) }) }
                batch.insert(leave, at: 5)
                var outcomes = try await store.appendPatiently(batch, locked: 5)
                guard case .failed(.busy) = outcomes.remove(at: 5) else { return #expect(Bool(false), "\(outcomes)") }
                #expect(outcomes.allSatisfy { $0 == .committed })
            }
            #expect(store.suspects.withLock { $0 == [locked.record.id] })
        }
        #expect(try await eventually { try await store.append([leave]) == (row == .receipt ? [.receiptConflict(index: 0)] : [.committed]) })
        #expect(store.suspects.withLock { $0.isEmpty })
    }

    /// However many queues have locked rows, the others are found among them, and go on.
    @Test func manyLockedQueuesLetTheOthersGoOn() async throws {
        let home = try await TestStore(.postgres)
        let store = try await writable(home, PostgresStoreTests.patient)
        defer { store.close() }
        var queues = (0..<80).map { Written(tenant, slug: "q\($0)", id: UInt64(10 + $0)) }
        var made: [LogAppend] = []
        for index in queues.indices {
            made.append(
                try queues[index].append {
                    try $0.configure(QueueConfiguration(), at: $1, &$2)
                    _ = try $0.join(lane: 0, at: $1, &$2)
                })
        }
        #expect(try await store.append(made).allSatisfy { $0 == .committed })
        let isLocked = (0..<80).map { $0 % 4 != 0 }
        let change = PostgresCall(
            """
            UPDATE user_sessions s SET display_name = 'Bob' FROM queues q WHERE q.id = s.queue_id AND substring(q.slug from 2)::int % 4 <> 0
            """)
        try await holding(change, at: home) {
            var leaving: [Int: LogAppend] = [:]
            for index in queues.indices {
                leaving[index] = try queues[index].append { try $0.leave(Ticket(lane: 0, number: 1), at: $1, &$2) }
            }
            var turns = 0
            while leaving.keys.contains(where: { !isLocked[$0] }), turns < 40 {
                turns += 1
                let batch = leaving.sorted { $0.key < $1.key }
                for (asked, outcome) in zip(batch, try await store.append(batch.map(\.value))) where outcome == .committed {
                    #expect(!isLocked[asked.key])
                    leaving[asked.key] = nil
                }
            }
            #expect(leaving.count == 60, "after \(turns) turns")
            // By now it is known which they are: none of the others waits.
            var batch = leaving.values.map { $0 }
            for index in queues.indices where !isLocked[index] {
                batch.append(try queues[index].append { _ = try $0.join(lane: 0, at: $1, &$2) })
            }
            #expect(try await store.append(batch).count { $0 == .committed } == 20)
        }
    }

    /// What waits behind somebody who wants to change a table waits with everybody, although a row is locked as well.
    @Test func tableThatSomebodyWaitsForBehindARowIsAnOutage() async throws {
        let home = try await TestStore(.postgres)
        let store = try await writable(home, PostgresStoreTests.patient)
        let others = try await PostgresStoreTests.limited(home) {
            ($0.connections, $0.answerSeconds, $0.lockMilliseconds) = (8, 1_200, 1_200_000)
        }
        defer {
            store.close()
            others.close()
        }
        var queue = Written(tenant)
        #expect(try await store.append([try queue.append { try $0.configure(QueueConfiguration(), at: $1, &$2) }]) == [.committed])
        let join = try queue.append { _ = try $0.join(lane: 0, at: $1, &$2) }
        try await holding(PostgresCall("UPDATE queues SET name = 'by hand' WHERE id = $1").with(queue.record.id), at: home) {
            // It waits for the row's holder, and everybody for it; `lock_timeout` must not end it meanwhile.
            let change = [
                PostgresCall("SELECT set_config('lock_timeout', '0', true)"), PostgresCall("ALTER TABLE queues ADD COLUMN extra bigint"),
            ]
            let altering = Task { await others.run(change, seconds: 300) }
            #expect(
                try await eventually {
                    try await others.row(
                        PostgresCall(
                            """
                            SELECT 1::bigint FROM pg_locks l JOIN pg_database d ON d.oid = l.database
                            WHERE mode = 'AccessExclusiveLock' AND NOT granted AND datname = current_database()
                            """)) != nil
                })
            let error = await #expect(throws: StoreError.self) { try await store.append([join]) }
            guard case .unavailable = error else { return #expect(Bool(false), "\(String(describing: error))") }
            try TestStore.psql(
                "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE query LIKE 'ALTER TABLE%' AND datname = current_database()",
                in: home.uri)
            _ = await altering.value
        }
        #expect(try await eventually { try await store.append([join]) == [.committed] })
    }

    /// A dump of an older schema that was restored over a newer database leaves tables behind that it does not know.
    @Test func olderDumpOverANewerDatabaseIsMigrated() async throws {
        let home = try await TestStore(.postgres)
        let store = try await writable(home)
        var queue = Written(tenant)
        #expect(try await store.append([try queue.append { try $0.configure(QueueConfiguration(), at: $1, &$2) }]) == [.committed])
        try await store.beginHistory()
        store.close()
        try TestStore.psql("ALTER TABLE queues DROP COLUMN history; DELETE FROM schema_migrations WHERE version >= 12", in: home.uri)
        let migrated = try await PostgresStoreTests.limited(home) { _ in }
        defer { migrated.close() }
        #expect(try await migrated.loadQueue(queue.record.id)?.record.epoch == queue.record.epoch)
        // The counts are gone, so an instance that has run on finds out.
        let last = Beat.Count(number: 5, at: Timestamp(seconds: Date().timeIntervalSince1970), history: 1)
        let beat = try await migrated.beat(migrated.writer, lease: .seconds(60), capacity: nil, after: last, known: [])
        #expect(beat.history != 0)
    }

    /// Whoever edits rows by hand harms at most those who are in the queues, and nothing that reads the rows ends the process.
    @Test func valuesThatMakeNoSenseConcernTheirQueueAlone() async throws {
        let home = try await TestStore(.postgres)
        let store = try await writable(home)
        defer { store.close() }
        var queues = [Written(tenant), Written(tenant, slug: "b", id: 8)]
        for index in queues.indices {
            let append = try queues[index].append {
                try $0.configure(QueueConfiguration(), at: $1, &$2)
                for _ in 0..<3 { _ = try $0.join(lane: 0, at: $1, &$2) }
                $0.advance(to: $1, &$2)
            }
            #expect(try await store.append([append]) == [.committed])
        }
        let (id, other) = (queues[0].record.id, queues[1].record.id)
        func known(_ queue: Written) -> Beat.Head { Beat.Head(queue: queue.record.id, epoch: .max, position: queue.state.position) }
        let edits = [
            "user_sessions SET expires_at = 'infinity', created_at = '-infinity'", "user_sessions SET absent_since = '-infinity'",
            "log SET at = 'infinity'", "queues SET last_event_at = 'infinity', unseen_at = '-infinity'",
        ]
        for edit in edits {
            try TestStore.psql("UPDATE \(edit) WHERE \(edit.hasPrefix("queues") ? "id" : "queue_id") = '\(id)'", in: home.uri)
            let image = try #require(try await store.loadQueue(id)).image
            guard image.isConsistent else { continue }
            // What is reckoned from its moments does not overflow.
            let state = QueueState(image)
            _ = (state.nextWake(after: Timestamp(seconds: 1_800_000_000)), state.drain(at: Timestamp(seconds: 1_800_000_000)))
        }
        try TestStore.psql("UPDATE user_sessions SET ticket = -1 WHERE queue_id = '\(id)' AND ticket = 3", in: home.uri)
        #expect(try await store.loadQueue(id)?.image.isConsistent == false)
        try TestStore.psql("UPDATE queues SET head = -1 WHERE id = '\(id)'", in: home.uri)
        await #expect(throws: StoreError.self) { try await store.loadQueue(id) }
        let beat = try await store.beat(
            store.writer, lease: .seconds(60), capacity: nil, after: .none, known: queues.map(known))
        #expect(beat.changed.isEmpty && beat.gone.isEmpty)
        #expect(try await store.loadQueue(other)?.image.isConsistent == true)
    }

    /// The server finds damage when one queue is written: the others of the batch are committed.
    @Test(arguments: ["XX001", "58030"]) func damageConcernsItsQueueAlone(_ state: String) async throws {
        let home = try await TestStore(.postgres)
        let store = try await writable(home)
        defer { store.close() }
        var queues = (1...5).map { Written(tenant, slug: "q\($0)", id: $0) }
        func appends() throws -> [LogAppend] {
            try queues.indices.map { try queues[$0].append { try $0.configure(QueueConfiguration(), at: $1, &$2) } }
        }
        #expect(try await store.append(try appends()).allSatisfy { $0 == .committed })
        func damage(_ condition: String) throws {
            try TestStore.psql(
                """
                CREATE OR REPLACE FUNCTION damage() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN
                    IF \(condition) THEN RAISE EXCEPTION ''a bad page'' USING ERRCODE = ''\(state)''; END IF; RETURN NEW; END';
                CREATE OR REPLACE TRIGGER damage BEFORE INSERT ON log FOR EACH ROW EXECUTE FUNCTION damage()
                """, in: home.uri)
        }
        try damage("NEW.queue_id = ''\(queues[2].record.id)''")
        let before = queues
        for (index, outcome) in try await store.appendPatiently(try appends()).enumerated() {
            #expect(index == 2 ? outcome.isCorrupt : outcome == .committed)
        }
        queues[2] = before[2]
        try damage("true")
        #expect(try await store.appendPatiently(try appends()).allSatisfy(\.isCorrupt))
    }

    /// Everybody waits for a table that is locked: for the service the store is away.
    @Test func tableThatIsLockedIsAnOutage() async throws {
        let home = try await TestStore(.postgres)
        let store = try await writable(home) { $0.answerSeconds = 2 }
        defer { store.close() }
        var queue = Written(tenant)
        let append = try queue.append { try $0.configure(QueueConfiguration(), at: $1, &$2) }
        try await holding(PostgresCall("DO 'BEGIN LOCK TABLE log; END'"), at: home) {
            let error = await #expect(throws: StoreError.self) { try await store.append([append]) }
            guard case .unavailable = error else { return #expect(Bool(false), "\(String(describing: error))") }
        }
        #expect(try await eventually { try await store.append([append]) == [.committed] })
    }

    /// Two write the ends of a closed queue at once: whoever finds only what the other was writing has not found the last of it.
    @Test func endsThatAnotherIsWritingAreNotTheLastOnes() async throws {
        let home = try await TestStore(.postgres)
        let store = try await writable(home) { $0.lockMilliseconds = 300_000 }
        defer { store.close() }
        var queue = Written(tenant)
        let joins = try queue.append { state, now, log in
            try state.configure(QueueConfiguration(), at: now, &log)
            for _ in 0..<20 { _ = try state.join(lane: 0, at: now, &log) }
        }
        #expect(try await store.append([joins]) == [.committed])
        let closing = queue.append { $0.close(at: $1, &$2) }
        #expect(try await store.append([closing]) == [.committed])
        let id = queue.record.id
        let change = PostgresCall(
            "UPDATE user_sessions SET status = 'expired', end_reason = 'closed', ended_at = now() WHERE queue_id = $1 AND ticket < 20"
        ).with(id)
        var late: Task<Int, any Error>?
        try await holding(change, at: home) {
            late = Task { try await store.endClosed(id, limit: 3) }
            func waits() async throws -> Bool {
                // A lock on a transaction belongs to no database, and other tests wait for some.
                let call = PostgresCall(
                    """
                    SELECT pid FROM pg_stat_activity
                    WHERE datname = current_database() AND wait_event_type = 'Lock' AND wait_event = 'transactionid'
                    """)
                return try await store.row(call) != nil
            }
            let isHeldUp = try await eventually { try await waits() }
            #expect(isHeldUp)
        }
        let found = try await #require(late).value
        #expect(found == 3)
        #expect(try await store.closingQueues(limit: 9) == [id])
        #expect(try await store.endClosed(id, limit: 3) == 1)
    }

    /// Who loses a race has the queue kept for it, until it has written, but not for long.
    @Test func whoLosesIsNext() async throws {
        let home = try await TestStore(.postgres)
        let store = try await home.open()
        defer { store.close() }
        try await store.insert(Tenant(id: tenant, name: "t"))
        try await store.takeLease()
        let (slow, third) = (InstanceID(high: 2, low: 2), InstanceID(high: 3, low: 3))
        for other in [slow, third] {
            _ = try await store.beat(other, lease: .seconds(3_600), capacity: nil, after: .none, known: [])
        }
        var queue = Written(tenant)
        func join() throws -> LogAppend { try queue.append { _ = try $0.join(lane: 0, at: $1, &$2) } }
        _ = try await store.append([queue.append { try $0.configure(QueueConfiguration(), at: $1, &$2) }])
        let late = queue.append { _, _, _ in }
        #expect(try await store.append([join()]) == [.committed])

        // The test itself may be slow: it is the order that is looked at, as long as the queue was kept all the while.
        let isKept = try await eventually {
            // It is not kept for another who comes late, too.
            guard try await store.append([late], by: slow) == [.behind], try await store.append([late], by: third) == [.behind] else {
                return false
            }
            let before = queue
            // Nobody else writes meanwhile.
            guard try await store.append([join()]) == [.reserved] else { return false }
            queue = before
            return try await store.append([queue.append { _, _, _ in }], by: slow) == [.committed]
        }
        #expect(isKept)
        #expect(try await store.append([join()]) == [.committed])

        // One that never comes back.
        #expect(try await store.append([late], by: slow) == [.behind])
        let last = try join()
        let isFree = try await eventually { try await store.append([last]) == [.committed] }
        #expect(isFree)
    }

    @Test func theFirstHostThatAnswersIsTaken() async throws {
        let home = try await TestStore(.postgres)
        let server = try #require(home.uri.firstMatch(of: /127.0.0.1:(\d+)/)?.1)
        let uri = home.uri.replacing("127.0.0.1:\(server)", with: "127.0.0.1:1,localhost:\(server)")
        let store = try await PostgresStore.open(uri: uri, loop: EventLoopGroup(count: 1).loops[0])
        #expect(try await store.tenants().isEmpty)
        store.close()
        #expect(throws: StoreOpenError.self) {
            try PostgresStore(uri: "postgresql://a@b/c?sslmod=x", loop: EventLoopGroup(count: 1).loops[0], settings: PostgresSettings())
        }
    }

    @Test func severalThatStartAtOnceMakeOneSchema() async throws {
        let home = try await TestStore(.postgres)
        try await withThrowingTaskGroup { group in
            for _ in 0..<5 { group.addTask { try await PostgresStoreTests.limited(home) { _ in }.close() } }
            try await group.waitForAll()
        }
        #expect(try await PostgresStore.isCurrent(uri: home.uri, loop: EventLoopGroup(count: 1).loops[0]))
        try TestStore.psql("INSERT INTO schema_migrations VALUES (1000, 'from the future')", in: home.uri)
        await #expect(throws: StoreOpenError.self) { try await home.open() }
    }

    /// The plans that the seed's indexes are for, in a table that is large enough to want them.
    @Test func theIndexesAreUsed() async throws {
        let home = try await TestStore(.postgres)
        let store = try await PostgresStoreTests.limited(home) { _ in }
        defer { store.close() }
        func plan(_ call: PostgresCall) async throws -> String {
            try await store.rows(call).map { row throws(StoreError) in try row.get(0, as: String.self) }.joined(separator: "\n")
        }
        let id = QueueID(high: 7, low: 7)
        try TestStore.psql(
            """
            INSERT INTO user_sessions (queue_id, ticket, id, tenant_id, status, created_at)
            SELECT '\(id)', n, gen_random_uuid(), gen_random_uuid(), CASE WHEN n < 9900 THEN 'left' ELSE 'waiting' END, now()
            FROM generate_series(1, 10000) n;
            ANALYZE user_sessions
            """, in: home.uri)
        let line = PostgresCall("EXPLAIN SELECT ticket, absent_since FROM user_sessions WHERE queue_id = $1 AND status = 'waiting'").with(
            id)
        #expect(try await plan(line).contains("idx_user_sessions_queue_status"))
        let one = try await plan(PostgresCall("EXPLAIN SELECT status FROM sessions WHERE id = $1").with(SessionID(high: 1, low: 1)))
        #expect(one.contains("idx_user_sessions_id") && one.contains("queues_pkey"))
        #expect(
            try await plan(PostgresCall("EXPLAIN SELECT id FROM queues WHERE tenant_id = $1 AND is_active").with(tenant)).contains(
                "idx_queues_tenant_active"))
    }

    /// The names that a database is examined for are those that the migrations leave behind.
    @Test func anIndexThatIsMissingIsNamed() async throws {
        let home = try await TestStore(.postgres)
        let loop = try EventLoopGroup(count: 1).loops[0]
        try await PostgresStore.open(uri: home.uri, loop: loop).close()
        let facts = try await PostgresStore.examine(uri: home.uri, loop: loop)
        #expect(facts.indexes.map(\.name).sorted() == PostgresSchema.indexes.sorted())
        #expect(facts.missingIndexes.isEmpty && facts.indexes.allSatisfy(\.isValid))
        try TestStore.psql("DROP INDEX idx_user_sessions_queue_status", in: home.uri)
        #expect(try await PostgresStore.examine(uri: home.uri, loop: loop).missingIndexes == ["idx_user_sessions_queue_status"])
    }

    /// A connection plans its statements when it first needs them, perhaps in an empty database. Whatever is written and
    /// read afterwards touches the rows that it is about, and not the whole line for each of them.
    @Test func plansThatWereMadeOnEmptyTablesAreGoodForLargeOnes() async throws {
        let home = try await TestStore(.postgres)
        let store = try await PostgresStoreTests.limited(home) { $0.connections = 1 }
        defer { store.close() }
        try await store.insert(Tenant(id: tenant, name: "t"))
        try await store.takeLease()
        var queue = Written(tenant)
        func commit(_ command: (inout QueueState, Timestamp, inout [QueueEvent]) throws -> Void) async throws {
            #expect(try await store.append([queue.append(command)]) == [.committed])
        }
        try await commit { try $0.configure(QueueConfiguration(graceSeconds: 3_600), at: $1, &$2) }
        func readAll() async throws -> Int {
            var count = 0
            while case let page = try await store.entries(of: queue.record.id, after: UInt64(count), limit: 500), !page.isEmpty {
                count += page.count
            }
            _ = try await store.averageWait(of: queue.record.id, last: 100)
            return count
        }
        #expect(try await readAll() == queue.state.head)
        for _ in 0..<20 {
            try await commit { for _ in 0..<100 { _ = try $0.join(lane: 0, at: $1, &$2) } }
        }
        for number in 1...100 as ClosedRange<UInt64> {
            try await commit { state, now, log in
                _ = try state.join(lane: 0, at: now, &log)
                state.disconnect([Ticket(lane: 0, number: 3 * number)], at: now, &log)
                try state.leave(Ticket(lane: 0, number: 3 * number + 1), at: now, &log)
            }
        }
        #expect(try await readAll() == queue.state.head)
        _ = await store.run([PostgresCall("SELECT pg_stat_force_next_flush()::text")], seconds: 5)
        try TestStore.psql(
            """
            DO $$
            DECLARE read bigint := (SELECT idx_tup_fetch + seq_tup_read FROM pg_stat_user_tables WHERE relname = 'user_sessions');
            BEGIN ASSERT read BETWEEN 2000 AND 6000, read || ' rows were read'; END $$
            """, in: home.uri)
    }

    /// Among a million sessions the statistics find those who are let in by the index, with the server's own settings.
    @Test func theStatisticsUseTheIndexAmongAMillion() async throws {
        let home = try await TestStore(.postgres)
        let store = try await home.open()
        defer { store.close() }
        try await store.insert(Tenant(id: tenant, name: "t"))
        try await store.takeLease()
        var queue = Written(tenant, QueueConfiguration(maxConcurrentUsers: 100))
        _ = try await store.append([queue.append { try $0.configure(QueueConfiguration(maxConcurrentUsers: 100), at: $1, &$2) }])
        try TestStore.psql(
            """
            INSERT INTO user_sessions (queue_id, ticket, id, tenant_id, status, created_at, admitted_at)
            SELECT q.id, n, gen_random_uuid(), q.tenant_id, CASE WHEN n <= 85 THEN 'admitted' ELSE 'waiting' END, now(),
                CASE WHEN n <= 85 THEN now() + interval '30 seconds' END
            FROM queues q, generate_series(1, 1000000) n;
            ANALYZE user_sessions, queues;
            DO $$
            DECLARE line text; plan text := '';
            BEGIN
                FOR line IN EXPLAIN SELECT * FROM queue_stats LOOP plan := plan || line; END LOOP;
                ASSERT plan LIKE '%idx_user_sessions_queue_status%', plan;
                ASSERT (SELECT (max_concurrent_users, current_users, avg_wait_time::int, capacity_status) = (100, 85, 30, 'Near Full')
                    FROM queue_stats);
            END $$
            """, in: home.uri)
    }
}

extension AppendOutcome {
    fileprivate var isCorrupt: Bool { if case .failed(.corrupt) = self { true } else { false } }
}
