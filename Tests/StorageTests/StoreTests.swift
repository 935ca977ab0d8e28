import QueueEngine
import QueueService
import Telemetry
import Testing
import TestSupport

/// What every store promises.
@Suite struct StoreTests {
    let tenant = Tenant(id: TenantID(high: 1, low: 1), name: "t")

    private func open(_ home: TestStore) async throws -> any QueueStore {
        let store = try await home.open()
        if try await store.tenants().isEmpty { try await store.insert(tenant) }
        try await store.takeLease()
        return store
    }

    /// Random histories: after each batch what the store gives back is the state that was written, and so is what its
    /// log makes of nothing.
    @Test(arguments: StoreKind.allCases) func whatIsReadIsWhatWasWritten(_ kind: StoreKind) async throws {
        let home = try await TestStore(kind)
        let store = try await open(home)
        var random = SeededRandom(seed: TestSeed.value)
        let configuration = QueueConfiguration(
            maxConcurrentUsers: 5, graceSeconds: 10, priorityLanes: [PriorityLane(name: "p", sharePercent: 30)])
        var queue = Written(tenant.id, configuration)
        #expect(try await store.append([queue.append { try $0.configure(configuration, at: $1, &$2) }]) == [.committed])
        for _ in 0..<150 {
            queue.now = queue.now + .milliseconds(Int.random(in: 0...4_000, using: &random))
            let append = queue.append { state, now, log in
                // Some in one batch: a session may be made, lost from sight and let in at once.
                for _ in 0..<Int.random(in: 1...4, using: &random) { live(&state, now, &log, &random) }
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

    private func live(_ state: inout QueueState, _ now: Timestamp, _ log: inout [QueueEvent], _ random: inout SeededRandom) {
        let someone = (0..<3).compactMap { _ in (state.allWaiting + Array(state.admitted.keys)).randomElement(using: &random) }
        switch Int.random(in: 0..<20, using: &random) {
        case 0...6: for _ in 0..<3 { _ = try? state.join(lane: Int.random(in: 0...1, using: &random), at: now, &log) }
        case 7...8: state.disconnect(someone, at: now, &log)
        case 9: state.lose(someone, until: now + .seconds(Int.random(in: 0...20, using: &random)), at: now, &log)
        case 10...11: state.connect(someone, at: now, &log)
        case 12:
            state.disconnectEveryone(at: now, &log)
            if random.chance(50) { state.connect(someone, at: now, &log) }
        case 13...14: if let one = someone.first { try? state.leave(one, at: now, &log) }
        case 15...16: if let one = someone.first { try? state.complete(one, at: now, &log) }
        case 17: state.announce(at: now, &log)
        case 18:
            state.close(at: now, &log)
            if random.chance(80) { try? state.open(at: now, &log) }
        default: if state.status == .open { try? state.pause(at: now, &log) } else { try? state.resume(at: now, &log) }
        }
    }

    @Test(arguments: StoreKind.allCases) func aLostRaceChangesNothingAndItsNeighbourStands(_ kind: StoreKind) async throws {
        let home = try await TestStore(kind)
        let store = try await open(home)
        var (a, b) = (Written(tenant.id), Written(tenant.id, slug: "b", id: 8))
        _ = try await store.append([
            a.append { try $0.configure(QueueConfiguration(), at: $1, &$2) },
            b.append { try $0.configure(QueueConfiguration(), at: $1, &$2) },
        ])
        var late = a
        let won = try a.append { _ = try $0.join(lane: 0, at: $1, &$2) }
        let lost = try late.append { _ = try $0.join(lane: 0, at: $1, &$2) }
        #expect(try await store.append([won]) == [.committed])
        #expect(try await store.append([lost, b.append { $0.announce(at: $1, &$2) }]) == [.behind, .committed])
        #expect(try await store.entries(of: a.record.id, after: 0, limit: 10).count == 3)
    }

    @Test(arguments: StoreKind.allCases) func conflictsNameTheirAuthor(_ kind: StoreKind) async throws {
        let home = try await TestStore(kind)
        let store = try await open(home)
        var queue = Written(tenant.id)
        _ = try await store.append([queue.append { try $0.configure(QueueConfiguration(), at: $1, &$2) }])
        var second = try queue.append { for _ in 0..<2 { _ = try $0.join(lane: 0, at: $1, &$2) } }
        second.events[1].detail = .session(SessionID(high: 5, low: 5), Visitor(user: "u1"))
        #expect(try await store.append([second]) == [.userConflict(eventIndex: 1)])
        #expect(try await store.currentSession(user: "u1", queue: queue.record.id, joining: false) == nil)
        second.events[1].detail = .session(SessionID(high: 5, low: 5), Visitor(user: "u2"))
        let receipt = Receipt(tenant: tenant.id, key: "k", requestHash: [1], result: "r")
        second.receipts = [receipt]
        #expect(try await store.append([second]) == [.committed])
        #expect(try await store.receipt(tenant: tenant.id, key: "k") == receipt)
        var third = queue.append { $0.announce(at: $1, &$2) }
        third.receipts = [receipt]
        #expect(try await store.append([third]) == [.receiptConflict(index: 0)])
        var other = Written(tenant.id, id: 9)
        #expect(try await store.append([other.append { try $0.configure(QueueConfiguration(), at: $1, &$2) }]) == [.slugTaken])
    }

    /// When nobody is in sight any more one row says so; whoever had gone before keeps the moment at which that was.
    @Test(arguments: StoreKind.allCases) func rebuiltLineKnowsWhoHadGoneBeforeARestart(_ kind: StoreKind) async throws {
        let home = try await TestStore(kind)
        let store = try await open(home)
        let configuration = QueueConfiguration(releaseRatePerMinute: 0)
        var queue = Written(tenant.id, configuration)
        _ = try await store.append([queue.append { try $0.configure(configuration, at: $1, &$2) }])
        _ = try await store.append([try queue.append { for _ in 0..<6 { _ = try $0.join(lane: 0, at: $1, &$2) } }])
        let tickets = (1...6).map { Ticket(lane: 0, number: $0) }
        _ = try await store.append([queue.append { $0.disconnect(tickets[..<2], at: $1, &$2) }])
        for _ in 0..<2 {
            queue.now = queue.now + .seconds(20)
            _ = try await store.append([queue.append { $0.lose([tickets[2]], until: $1 + .seconds(30), at: $1, &$2) }])
            _ = try await store.append([queue.append { $0.disconnectEveryone(at: $1, &$2) }])
            _ = try await store.append([queue.append { $0.connect([tickets[0], tickets[3]], at: $1, &$2) }])
            #expect(try await store.loadQueue(queue.record.id).map { QueueState($0.image) } == queue.state)
            _ = try await store.append([queue.append { $0.disconnect([tickets[3]], at: $1, &$2) }])
            #expect(try await store.loadQueue(queue.record.id).map { QueueState($0.image) } == queue.state)
        }
    }

    /// Whoever asks finds everyone sent away as soon as it is committed, however long it takes to write their rows.
    @Test(arguments: StoreKind.allCases) func closingSendsEveryoneAwayAtOnce(_ kind: StoreKind) async throws {
        let home = try await TestStore(kind)
        let store = try await open(home)
        let configuration = QueueConfiguration(releaseRatePerMinute: 60)
        var queue = Written(tenant.id, configuration)
        _ = try await store.append([queue.append { try $0.configure(configuration, at: $1, &$2) }])
        _ = try await store.append([try queue.append { for _ in 0..<6 { _ = try $0.join(lane: 0, at: $1, &$2) } }])
        queue.now = queue.now + .seconds(2)
        _ = try await store.append([
            try queue.append { state, now, log in
                state.advance(to: now, &log)
                try state.leave(Ticket(lane: 0, number: 2), at: now, &log)
            }
        ])
        #expect(queue.state.waitingCount == 4)
        // One more comes in the same breath, and is sent away with the others.
        let close = try queue.append { state, now, log in
            _ = try state.join(lane: 0, at: now, &log)
            state.close(at: now, &log)
        }
        #expect(try await store.append([close]) == [.committed])
        let id = queue.record.id
        func all(_ status: SessionStatus?) async throws -> [SessionRecord] {
            try await store.sessions(tenant: tenant.id, queue: id, status: status, after: nil, limit: 100).items
        }
        let before = try await all(nil)
        #expect(before.map(\.status) == [.admitted, .left, .expired, .expired, .expired, .expired, .expired])
        #expect(before[2...].allSatisfy { $0.endReason == "closed" && $0.endedAt == queue.now })
        #expect(try await all(.expired) == Array(before[2...]))
        #expect(try await all(.waiting) == [])
        #expect(try await store.session(before[3].id) == before[3])
        #expect(try await store.currentSession(user: "u4", queue: id, joining: false) == nil)
        #expect(try await store.currentSession(user: "u1", queue: id, joining: false) == before[0])
        #expect(try await store.held(by: store.writer, in: id) == [])
        #expect(try await QueueState(#require(store.loadQueue(id)).image) == queue.state)

        #expect(try await store.closingQueues(limit: 9) == [id])
        #expect(try await store.endClosed(id, limit: 3) == 3)
        #expect(try await store.closingQueues(limit: 9) == [id])
        #expect(try await all(nil) == before)
        while try await store.endClosed(id, limit: 3) > 0 {}
        #expect(try await store.closingQueues(limit: 9).isEmpty)
        #expect(try await all(nil) == before)
        var again = try queue.append { state, now, log in
            try state.open(at: now, &log)
            _ = try state.join(lane: 0, at: now, &log)
        }
        again.events[1].detail = .session(SessionID(high: 5, low: 5), Visitor(user: "u4"))
        #expect(try await store.append([again]) == [.committed])
        #expect(try await store.endClosed(id, limit: 3) == 0)
        #expect(try await QueueState(#require(store.loadQueue(id)).image) == queue.state)
    }

    /// An hour is told again and again as it goes on; the last time counts.
    @Test(arguments: StoreKind.allCases) func hoursAndMarks(_ kind: StoreKind) async throws {
        let home = try await TestStore(kind)
        let store = try await open(home)
        let (one, other) = (InstanceID(high: 1, low: 1), InstanceID(high: 2, low: 2))
        func hour(_ number: Int, joins: Int64, failed: Int64 = 0) -> StoredHour {
            var (counts, levels) = (Counts(), Levels())
            (counts.joins, counts.failedRequests, levels.memory) = (joins, failed, 0.1)
            return StoredHour(number: number, period: Period(seconds: 10.5, counts: counts, levels: levels))
        }
        try await store.keep([hour(10, joins: 1)], of: one, since: 0)
        try await store.keep([hour(10, joins: 5, failed: 2), hour(11, joins: 6)], of: one, since: 0)
        try await store.keep([hour(11, joins: 7, failed: 1)], of: other, since: 0)
        try await store.keep([], of: other, since: 0)
        let all = try await store.hours(since: 0, limit: 10)
        #expect(all.map(\.number) == [10, 11, 11] && all[0] == hour(10, joins: 5, failed: 2))
        #expect(Set(all.map(\.period.counts.joins)) == [5, 6, 7])
        #expect(try await store.hours(since: 11, limit: 1).map(\.number) == [11])
        #expect(try await store.requests(since: 10) == (0, 3))
        #expect(try await store.requests(since: 12) == (0, 0))
        try await store.keep([hour(12, joins: 1)], of: other, since: 11)
        #expect(try await store.hours(since: 0, limit: 10).map(\.number) == [11, 11, 12])

        let stranger = TenantID(high: 9, low: 9)
        func mark(_ second: Double, _ text: String, _ tenant: TenantID) -> Mark {
            Mark(id: Identifier(high: UInt64(second), low: tenant.high), tenant: tenant, at: Timestamp(seconds: second), text: text)
        }
        let marks = [mark(1, "a", tenant.id), mark(2, "b", tenant.id), mark(3, "c", tenant.id)]
        for mark in marks.reversed() + [mark(2, "theirs", stranger)] { try await store.insert(mark) }
        #expect(try await store.marks(tenant: tenant.id, since: Timestamp(seconds: 2), limit: 10) == Array(marks[1...]))
        #expect(try await store.marks(tenant: tenant.id, since: Timestamp(seconds: 0), limit: 1) == [marks[2]])
    }

    /// A key and a mark are written with the receipt for it, or not at all.
    @Test(arguments: StoreKind.allCases) func aReceiptIsGivenOnce(_ kind: StoreKind) async throws {
        let home = try await TestStore(kind)
        let store = try await open(home)
        defer { store.close() }
        func receipt(_ key: String, _ result: String, _ owner: TenantID? = nil) -> Receipt {
            Receipt(tenant: owner ?? tenant.id, key: key, requestHash: [1], result: result)
        }
        func key(_ id: UInt64) -> APIKey {
            APIKey(id: KeyID(high: id, low: id), tenant: tenant.id, role: .operator, hash: [UInt8(id)], label: "l")
        }
        func mark(_ id: UInt64) -> Mark {
            Mark(id: Identifier(high: id, low: id), tenant: tenant.id, at: Timestamp(seconds: Double(id)), text: "m")
        }
        func isRejected(_ write: () async throws(StoreError) -> Void) async -> Bool {
            do throws(StoreError) { try await write() } catch {
                if case .rejected = error { return true }
            }
            return false
        }
        try await store.insert(key(1), receipt("k", "1"))
        try await store.insert(mark(1), receipt("m", "1"))
        #expect(await isRejected { () throws(StoreError) in try await store.insert(key(2), receipt("k", "2")) })
        #expect(await isRejected { () throws(StoreError) in try await store.insert(mark(2), receipt("k", "2")) })
        #expect(await isRejected { () throws(StoreError) in try await store.insert(mark(3), receipt("m", "3")) })
        // A key that cannot be written leaves no receipt.
        #expect(await isRejected { () throws(StoreError) in try await store.insert(key(1), receipt("other", "1")) })
        #expect(try await store.receipt(tenant: tenant.id, key: "other") == nil)
        #expect(try await store.keys().map(\.id) == [key(1).id])
        #expect(try await store.marks(tenant: tenant.id, since: Timestamp(seconds: 0), limit: 9) == [mark(1)])
        #expect(try await store.receipt(tenant: tenant.id, key: "k") == receipt("k", "1"))
        // Another tenant's keys are its own, and without a receipt everything is written.
        try await store.insert(mark(4), receipt("k", "4", TenantID(high: 9, low: 9)))
        for id: UInt64 in [5, 6] { try await store.insert(mark(id), nil) }
        #expect(try await store.marks(tenant: tenant.id, since: Timestamp(seconds: 4), limit: 9).count == 3)
    }

    @Test(arguments: StoreKind.allCases) func everythingIsThereAfterItIsOpenedAgain(_ kind: StoreKind) async throws {
        let home = try await TestStore(kind)
        let secret = StoredSecret(id: "s", purpose: "p", value: [1, 2], createdAt: Timestamp(seconds: 5))
        let key = APIKey(id: KeyID(high: 1, low: 2), tenant: tenant.id, role: .operator, hash: [9], label: "l")
        do {
            let store = try await open(home)
            try await store.insert(secret)
            try await store.insert(key)
            store.close()
        }
        let store = try await open(home)
        #expect(try await store.secrets("p") == [secret])
        #expect(try await store.keys() == [key])
        #expect(try await !store.deleteKey(key.id, tenant: TenantID(high: 2, low: 2)))
        #expect(try await store.deleteKey(key.id, tenant: tenant.id))
    }

    /// Who has no lease writes nothing, and is told so.
    @Test(arguments: StoreKind.allCases) func nothingIsWrittenWithoutALease(_ kind: StoreKind) async throws {
        let home = try await TestStore(kind)
        let store = try await open(home)
        let stranger = InstanceID(high: 2, low: 2)
        var queue = Written(tenant.id)
        let first = try queue.append { try $0.configure(QueueConfiguration(), at: $1, &$2) }
        #expect(try await store.append([first], by: stranger) == [.lapsed])
        #expect(try await store.loadQueue(queue.record.id) == nil)
        #expect(try await store.append([first]) == [.committed])
        let known = Beat.Head(queue: queue.record.id, epoch: .max, position: queue.state.position)
        let elsewhere = Beat.Head(queue: queue.record.id, epoch: .max, position: LogPosition(seq: 0, at: .distantPast))
        let unknown = Beat.Head(queue: QueueID(high: 3, low: 3), epoch: 1, position: LogPosition(seq: 1, at: .distantPast))
        let held = try await store.beat(
            stranger, lease: .seconds(60), capacity: nil, after: .none, known: [elsewhere, unknown])
        #expect(held.peers.map(\.id) == [store.writer])
        #expect(held.peers[0].capacity == nil)
        #expect(held.changed == [known])
        #expect(held.gone == [unknown.queue])
        let joins = try queue.append { for _ in 0..<3 { _ = try $0.join(lane: 0, at: $1, &$2) } }
        #expect(try await store.append([joins], by: stranger) == [.committed])
        #expect(try await store.held(by: stranger, in: queue.record.id).map(\.number).sorted() == [1, 2, 3])
        let moves = queue.append { state, now, log in
            state.connect([Ticket(lane: 0, number: 2)], anew: true, at: now, &log)
            state.disconnect([Ticket(lane: 0, number: 3)], at: now, &log)
        }
        #expect(try await store.append([moves]) == [.committed])
        #expect(try await store.held(by: stranger, in: queue.record.id).map(\.number) == [1])
        #expect(try await store.held(by: store.writer, in: queue.record.id).map(\.number) == [2])
        // Held without a break, and then not.
        #expect(
            try await store.beat(stranger, lease: .seconds(60), capacity: nil, after: .none, known: [known])
                .heldSince == held.heldSince)
        try await store.removeLease(stranger)
        try await store.endLease(stranger)
        let last = queue.append { $0.announce(at: $1, &$2) }
        #expect(try await store.append([last], by: stranger) == [.lapsed])
        #expect(
            try await store.beat(stranger, lease: .seconds(60), capacity: nil, after: .none, known: [known])
                .heldSince > held.heldSince)
        #expect(try await store.append([last], by: stranger) == [.committed])
    }

    /// A store that has counted less than an instance was told has gone back: all epochs are others, once, also those of queues
    /// that were deleted.
    @Test(arguments: StoreKind.allCases) func storeThatHasGoneBackBeginsAnotherHistory(_ kind: StoreKind) async throws {
        let home = try await TestStore(kind)
        let store = try await open(home)
        func beat(_ instance: UInt64, after last: Beat.Count, known: [Beat.Head] = []) async throws -> Beat {
            try await store.beat(
                InstanceID(high: 9, low: instance), lease: .seconds(60), capacity: nil, after: last, known: known)
        }
        var (kept, deleted) = (Written(tenant.id, slug: "a", id: 1), Written(tenant.id, slug: "b", id: 2))
        var new = Written(tenant.id, slug: "c", id: 3)
        let made = try [kept.append { try $0.configure(.init(), at: $1, &$2) }, deleted.append { try $0.configure(.init(), at: $1, &$2) }]
        #expect(try await store.append(made) == [.committed, .committed])
        #expect(try await store.deleteQueue(deleted.record.id, tenant: tenant.id, at: deleted.state.head))
        func epochs() async throws -> [UInt64?] {
            try await [
                store.loadQueue(kept.record.id)?.record.epoch, store.deletedLog(of: deleted.record.id, tenant: tenant.id)?.epoch,
                store.queues(of: tenant.id, after: nil, limit: 1).first?.record.epoch,
            ]
        }
        func known(_ epoch: UInt64) -> Beat.Head { Beat.Head(queue: kept.record.id, epoch: epoch, position: kept.state.position) }
        let told = try await [beat(1, after: .none, known: [known(.max)]), beat(2, after: .none), beat(3, after: .none)]
        #expect(told[0].changed.isEmpty && told.allSatisfy { $0.history == 0 && $0.count.number == 1 })
        // A lease that has lapsed and was removed is not a store that has gone back.
        try await store.endLease(InstanceID(high: 9, low: 1))
        try await store.removeLease(InstanceID(high: 9, low: 1))
        let again = try await beat(1, after: told[0].count)
        #expect(again.history == 0 && again.count.number == 2)
        // Neither is one that has forgotten, after a day, how often an instance was there.
        let long = told[0].count.at - Beat.Count.kept - .seconds(1)
        let late = try await beat(7, after: Beat.Count(number: 1_000, at: long, history: 0))
        #expect(late.history == 0 && late.count.number > 1_000)
        #expect(try await epochs() == [.max, .max, .max])

        // All have seen more of it than there is: the first finds it out for all.
        func more(than count: Beat.Count) -> Beat.Count { Beat.Count(number: count.number + 100, at: count.at, history: count.history) }
        let restored = try await beat(1, after: more(than: again.count), known: [known(.max)])
        #expect(restored.history != 0 && restored.count.number > again.count.number + 100)
        #expect(try await beat(2, after: more(than: told[1].count)).history == restored.history)
        #expect(try await beat(1, after: restored.count).history == restored.history)
        let second = try await epochs()
        #expect(Set(second).count == 1 && second[0] != .max && second[0]!.isMultiple(of: 2))
        #expect(restored.changed.map(\.epoch) == [second[0]!])
        #expect(try await store.append([new.append { try $0.configure(.init(), at: $1, &$2) }]) == [.committed])
        #expect(try await store.loadQueue(new.record.id)?.record.epoch == .max)

        // A log shows it: once, to whoever knows the history of now, and the counts do not show the same again.
        let before = try await [beat(1, after: restored.count), beat(2, after: .none)]
        try await store.beginHistory(insteadOf: .max, of: kept.record.id)
        try await store.beginHistory(insteadOf: second[0]!, of: deleted.record.id)
        #expect(try await epochs() == second)
        try await store.beginHistory(insteadOf: second[0]!, of: kept.record.id)
        let third = try await epochs()
        #expect(third[0] != second[0] && third[0] != .max && Set(third).count == 1)
        for (number, last) in [(1, before[0]), (2, before[1])] { _ = try await beat(UInt64(number), after: more(than: last.count)) }
        #expect(try await epochs() == third)

        // A host takes over whose clock is behind, and another one soon after it.
        let now = try await beat(1, after: .none).count
        let found = try await beat(1, after: Beat.Count(number: 1_000, at: now.at + .seconds(30), history: now.history))
        #expect(found.history != now.history)
        #expect(try await beat(1, after: more(than: found.count)).history != found.history)

        // Somebody says it.
        try await store.beginHistory()
        let fourth = try await epochs()
        #expect(fourth[0] != third[0] && Set(fourth).count == 1)
        let last = try await store.loadQueue(new.record.id)!.record
        #expect(last.epoch != .max && last.isRestored)
        #expect(try await beat(1, after: .none, known: [known(fourth[0]!)]).changed.isEmpty)
    }

    /// Of several instances that start in an empty store one makes the tenant, the key and the secrets.
    @Test(arguments: StoreKind.allCases) func oneIsFirst(_ kind: StoreKind) async throws {
        let home = try await TestStore(kind)
        let store = try await home.open()
        let firsts = try await withThrowingTaskGroup(of: [Bool].self) { group in
            for number in UInt64(1)...8 {
                group.addTask {
                    let tenant = Tenant(id: TenantID(high: 1, low: number), name: "t")
                    let isFirst = try await store.insertFirst(tenant)
                    let owner = try await store.tenants()[0].id
                    return try await [
                        isFirst,
                        store.insertFirst(
                            APIKey(id: KeyID(high: 1, low: number), tenant: owner, role: .admin, hash: [UInt8(number)], label: "")),
                        store.insertFirst(
                            StoredSecret(id: "\(number)", purpose: "p", value: [], createdAt: Timestamp(seconds: 1))),
                    ]
                }
            }
            return try await group.reduce(into: [0, 0, 0]) { sums, one in for index in 0..<3 where one[index] { sums[index] += 1 } }
        }
        #expect(firsts == [1, 1, 1])
        #expect(try await store.tenants().count == 1)
        #expect(try await store.secrets("p").count == 1)
    }

    /// What one person sends must not fail others: neighbours in the same batch commit.
    @Test(arguments: StoreKind.allCases) func rejectedDataFailsItsOwnQueueOnly(_ kind: StoreKind) async throws {
        let home = try await TestStore(kind)
        let store = try await open(home)
        var queues = (1...9).map { Written(tenant.id, slug: "q\($0)", id: $0) }
        _ = try await store.append(queues.indices.map { try queues[$0].append { try $0.configure(QueueConfiguration(), at: $1, &$2) } })
        var batch = try queues.indices.map { try queues[$0].append { _ = try $0.join(lane: 0, at: $1, &$2) } }
        batch[4].events[0].detail = .session(SessionID(high: 1, low: 1), Visitor(displayName: "a\0b"))
        let outcomes = try await store.appendPatiently(batch)
        for (index, outcome) in outcomes.enumerated() {
            guard index == 4 else {
                #expect(outcome == .committed)
                continue
            }
            guard case .failed(.rejected) = outcome else { return #expect(outcome == .failed(.rejected(""))) }
        }
        #expect(try await store.logBounds(of: queues[4].record.id)?.upperBound == batch[4].expected.seq)
        await #expect(throws: StoreError.self) { try await store.currentSession(user: "u1\0", queue: queues[0].record.id, joining: false) }
    }

    /// The largest batch that the service makes is one append.
    @Test(arguments: StoreKind.allCases) func largestBatchIsCommitted(_ kind: StoreKind) async throws {
        let home = try await TestStore(kind)
        let store = try await open(home)
        var queue = Written(tenant.id)
        _ = try await store.append([queue.append { try $0.configure(QueueConfiguration(), at: $1, &$2) }])
        let batch = try queue.append { state, now, log in
            for _ in 0..<2_000 { _ = try state.join(lane: 0, at: now, &log) }
            for number in 1...1_500 as ClosedRange<UInt64> { state.disconnect([Ticket(lane: 0, number: number)], at: now, &log) }
            for number in 1...1_500 as ClosedRange<UInt64> { state.connect([Ticket(lane: 0, number: number)], at: now, &log) }
        }
        #expect(batch.events.count == 5_000)
        #expect(try await store.append([batch]) == [.committed])
        #expect(try await store.append([queue.append { $0.close(at: $1, &$2) }]) == [.committed])
        #expect(try await store.endClosed(queue.record.id, limit: 2_000) == 2_000)
        #expect(try await QueueState(#require(store.loadQueue(queue.record.id)).image) == queue.state)
    }
}
