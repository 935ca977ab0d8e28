import QueueEngine
import QueueService
import Testing
import TestSupport

/// What every store deletes, and what it keeps. Time is an argument.
@Suite struct RetentionTests {
    let tenant = Tenant(id: TenantID(high: 1, low: 1), name: "t")
    /// Later than anything that the store's own clock says.
    let future = Timestamp(seconds: 4_000_000_000)
    let past = Timestamp(seconds: 1_000_000_000)

    private func open(_ home: TestStore) async throws -> any QueueStore {
        let store = try await home.open()
        try await store.insert(tenant)
        try await store.takeLease()
        return store
    }

    @Test(arguments: StoreKind.allCases) func sessionsGoByTheirEndOldestFirst(_ kind: StoreKind) async throws {
        let home = try await TestStore(kind)
        let store = try await open(home)
        defer { store.close() }
        var queue = Written(tenant.id)
        let start = queue.now
        _ = try await store.append([queue.append { try $0.configure(QueueConfiguration(releaseRatePerMinute: 0), at: $1, &$2) }])
        _ = try await store.append([try queue.append { for _ in 0..<6 { _ = try $0.join(lane: 0, at: $1, &$2) } }])
        for number in 1...4 as ClosedRange<UInt64> {
            queue.now = queue.now + .seconds(10)
            _ = try await store.append([try queue.append { try $0.leave(Ticket(lane: 0, number: number), at: $1, &$2) }])
        }
        func left() async throws -> [UInt64] {
            try await store.sessions(tenant: tenant.id, queue: nil, status: nil, after: nil, limit: 9).items.map(\.ticket.number).sorted()
        }
        func delete(before second: Int, limit: Int = 100) async throws -> ExpiredCount {
            try await store.deleteExpired(.sessions(endedBefore: start + .seconds(second)), limit: limit)
        }
        #expect(try await delete(before: 10) == ExpiredCount(deleted: 0, hasMore: false))
        #expect(try await delete(before: 35, limit: 1) == ExpiredCount(deleted: 1, hasMore: true))
        #expect(try await left() == [2, 3, 4, 5, 6])
        #expect(try await delete(before: 35) == ExpiredCount(deleted: 2, hasMore: false))
        #expect(try await left() == [4, 5, 6])
        // Whoever still waits stays, however old.
        _ = try await store.deleteExpired(.sessions(endedBefore: future), limit: 100)
        #expect(try await left() == [5, 6])
        #expect(try await QueueState(#require(store.loadQueue(queue.record.id)).image).waitingCount == 2)
    }

    @Test(arguments: StoreKind.allCases) func receiptsConsumersMarksAndAnnouncementsGoByTheirMoments(_ kind: StoreKind) async throws {
        let home = try await TestStore(kind)
        let store = try await open(home)
        defer { store.close() }
        var queue = Written(tenant.id)
        _ = try await store.append([queue.append { try $0.configure(QueueConfiguration(), at: $1, &$2) }])
        var append = queue.append { state, now, log in for _ in 0..<3 { state.announce(at: now, &log) } }
        append.receipts = [Receipt(tenant: tenant.id, key: "k", requestHash: [1], result: "r")]
        for (index, end) in [queue.now, queue.now + .seconds(60), nil].enumerated() {
            append.events[index].detail = .announcement(text: "\(index)", .info, expiresAt: end)
        }
        #expect(try await store.append([append]) == [.committed])
        try await store.confirm("reader", 1, of: queue.record.id, tenant: tenant.id)
        for second in [10.0, 20, 30] {
            try await store.insert(Mark(id: Identifier(high: 1, low: 1), tenant: tenant.id, at: Timestamp(seconds: second), text: "m"))
        }
        let kinds: [(Timestamp) -> ExpiredRows] = [
            { .receipts(madeBefore: $0) }, { .consumers(confirmedBefore: $0) }, { .marks(madeBefore: $0) },
            { .announcements(expiredBefore: $0) },
        ]
        for kind in kinds.prefix(2) {
            #expect(try await store.deleteExpired(kind(past), limit: 9).deleted == 0)
        }
        #expect(try await store.receipt(tenant: tenant.id, key: "k") != nil)
        #expect(try await store.deleteExpired(.marks(madeBefore: Timestamp(seconds: 25)), limit: 9).deleted == 2)
        #expect(try await store.marks(tenant: tenant.id, since: Timestamp(seconds: 0), limit: 9).map(\.at.microseconds) == [30_000_000])
        #expect(try await store.deleteExpired(.announcements(expiredBefore: queue.now + .seconds(1)), limit: 9).deleted == 1)
        #expect(try await store.announcements(of: queue.record.id, at: past, limit: 9).map(\.text) == ["2", "1"])
        // The entry of the log is still there, and has lost its text.
        let entries = try await store.entries(of: queue.record.id, after: 0, limit: 9)
        #expect(entries.suffix(3).map(\.announcement?.text) == [nil, "1", "2"])
        for kind in kinds { _ = try await store.deleteExpired(kind(future), limit: 9) }
        #expect(try await store.receipt(tenant: tenant.id, key: "k") == nil)
        #expect(try await store.marks(tenant: tenant.id, since: Timestamp(seconds: 0), limit: 9).isEmpty)
        // One that does not expire stays.
        #expect(try await store.announcements(of: queue.record.id, at: past, limit: 9).map(\.text) == ["2"])
        for kind in kinds { #expect(try await store.deleteExpired(kind(future), limit: 9) == ExpiredCount(deleted: 0, hasMore: false)) }
    }

    /// The log of a queue, oldest first, but never the last entry, and nothing that a reader with a name has not got.
    @Test(arguments: StoreKind.allCases) func oldEntriesGoAsFarAsEveryReaderHasThem(_ kind: StoreKind) async throws {
        let home = try await TestStore(kind)
        let store = try await open(home)
        defer { store.close() }
        var queue = Written(tenant.id)
        let start = queue.now
        _ = try await store.append([queue.append { try $0.configure(QueueConfiguration(), at: $1, &$2) }])
        for _ in 0..<10 {
            queue.now = queue.now + .seconds(1)
            _ = try await store.append([queue.append { $0.announce(at: $1, &$2) }])
        }
        let (id, head) = (queue.record.id, queue.state.head)
        func first() async throws -> UInt64? { try await store.logBounds(of: id)?.lowerBound }
        /// Until nothing is left to do.
        func prune(before second: Int, unseenSince: Timestamp = Timestamp(seconds: 0), limit: Int = 100) async throws -> Int {
            let age = ExpiredRows.LogAge(before: start + .seconds(second), unseenSince: unseenSince, now: start + .seconds(second + 100))
            var deleted = 0
            while case let count = try await store.deleteExpired(.log(age), limit: limit), count.hasMore { deleted += count.deleted }
            return deleted
        }
        #expect(try await prune(before: 0) == 0)
        #expect(try await first() == 1)
        let old = try await store.entries(of: id, after: 0, limit: 100).count { $0.event.at < start + .seconds(3) }
        #expect(try await prune(before: 3, limit: 1) == old)
        // Nothing is due with the same moment, so that no queue is looked at again.
        let again = ExpiredRows.LogAge(before: start + .seconds(3), unseenSince: past, now: start)
        #expect(try await store.deleteExpired(.log(again), limit: 9) == ExpiredCount(deleted: 0, hasMore: false))
        try await store.confirm("billing", 6, of: id, tenant: tenant.id)
        try await store.confirm("mail", 8, of: id, tenant: tenant.id)
        _ = try await prune(before: 1_000)
        #expect(try await first() == 7)
        try await store.confirm("billing", 9, of: id, tenant: tenant.id)
        _ = try await prune(before: 1_001)
        #expect(try await first() == 9)
        // Another key's reader by the same name moves nothing of this one's, and a reader that says nothing of its position keeps it.
        try await store.confirm("billing", 20, of: id, tenant: tenant.id, key: 2)
        try await store.confirm("billing", 20, of: id, tenant: tenant.id, isExplicit: false)
        _ = try await prune(before: 1_002)
        #expect(try await first() == 9)
        // Nobody has seen them since: they are not waited for.
        _ = try await prune(before: 1_003, unseenSince: future)
        #expect(try await store.logBounds(of: id) == head...head)
        #expect(try await QueueState(#require(store.loadQueue(id)).image).head == head)
        // The last entry is not looked at again before a whole period is over, and goes when there are others.
        #expect(try await prune(before: 1_100) == 0)
        queue.now = start + .seconds(2_000)
        _ = try await store.append([queue.append { $0.announce(at: $1, &$2) }])
        #expect(try await prune(before: 1_300, unseenSince: future) == 1)
        #expect(try await first() == head + 1)
    }

    /// A key may have so many names; one more takes the place of the one that was silent longest.
    @Test(arguments: StoreKind.allCases) func theReaderThatWasSilentLongestGivesWay(_ kind: StoreKind) async throws {
        let home = try await TestStore(kind)
        let store = try await open(home)
        defer { store.close() }
        var queue = Written(tenant.id)
        let (start, id) = (queue.now, queue.record.id)
        _ = try await store.append([queue.append { try $0.configure(QueueConfiguration(), at: $1, &$2) }])
        _ = try await store.append([queue.append { state, now, log in for _ in 0..<20 { state.announce(at: now, &log) } }])
        /// Where the log begins after a reader of this name has told what it has, and all that nobody lacks is gone.
        func first(after name: String, _ seq: UInt64, key: UInt64 = 1, isExplicit: Bool = true) async throws -> UInt64? {
            try await store.confirm(name, seq, of: id, tenant: tenant.id, key: key, isExplicit: isExplicit, limit: 2)
            queue.now = queue.now + .seconds(1)
            let age = ExpiredRows.LogAge(before: queue.now, unseenSince: Timestamp(seconds: 0), now: start)
            while try await store.deleteExpired(.log(age), limit: 100).deleted > 0 {}
            // The next one is told at another moment.
            try await Task.sleep(for: .milliseconds(2))
            return try await store.logBounds(of: id)?.lowerBound
        }
        #expect(try await first(after: "a", 2) == 3)
        #expect(try await first(after: "b", 4) == 3)
        #expect(try await first(after: "a", 20, isExplicit: false) == 3, "what it has told stands, and ages")
        #expect(try await first(after: "other", 6, key: 2) == 3, "another key's")
        #expect(try await first(after: "c", 8) == 5, "a has given way")
        #expect(try await first(after: "d", 10) == 7, "b has, and the other key's has not")
        #expect(try await first(after: "other", 20, key: 2) == 9)
    }

    /// Of announcements that are older than the log the newest stay: they are still shown.
    @Test(arguments: StoreKind.allCases) func announcementsGoWithTheirLog(_ kind: StoreKind) async throws {
        let home = try await TestStore(kind)
        let store = try await open(home)
        defer { store.close() }
        var queue = Written(tenant.id)
        _ = try await store.append([queue.append { try $0.configure(QueueConfiguration(), at: $1, &$2) }])
        _ = try await store.append([queue.append { state, now, log in for _ in 0..<150 { state.announce(at: now, &log) } }])
        let age = ExpiredRows.LogAge(before: future, unseenSince: future, now: future)
        while try await store.deleteExpired(.log(age), limit: 1_000).hasMore {}
        #expect(try await store.announcements(of: queue.record.id, at: past, limit: 1_000).count == ExpiredRows.announcementsKept)
    }

    @Test(arguments: StoreKind.allCases) func deletedQueueGoesWithAllThatWasIts(_ kind: StoreKind) async throws {
        let home = try await TestStore(kind)
        let store = try await open(home)
        defer { store.close() }
        var (gone, stays) = (Written(tenant.id), Written(tenant.id, slug: "b", id: 8))
        _ = try await store.append([
            gone.append { try $0.configure(QueueConfiguration(), at: $1, &$2) },
            stays.append { try $0.configure(QueueConfiguration(), at: $1, &$2) },
        ])
        for _ in 0..<2 {
            _ = try await store.append([
                try gone.append { state, now, log in
                    for _ in 0..<5 { _ = try state.join(lane: 0, at: now, &log) }
                    state.announce(at: now, &log)
                },
                try stays.append { state, now, log in
                    _ = try state.join(lane: 0, at: now, &log)
                    state.announce(at: now, &log)
                },
            ])
        }
        try await store.confirm("reader", 1, of: gone.record.id, tenant: tenant.id)
        #expect(try await store.deletedLog(of: gone.record.id, tenant: tenant.id) == nil)
        let head = gone.state.head
        for (seq, tenant) in [(head - 1, tenant.id), (head + 1, tenant.id), (head, TenantID(high: 7, low: 7))] {
            #expect(try await !store.deleteQueue(gone.record.id, tenant: tenant, at: seq))
        }
        #expect(try await store.loadQueue(gone.record.id) != nil)
        for _ in 1...2 { #expect(try await store.deleteQueue(gone.record.id, tenant: tenant.id, at: head)) }
        let log = DeletedLog(epoch: gone.record.epoch, first: 1, head: head)
        #expect(try await store.deletedLog(of: gone.record.id, tenant: tenant.id) == log)
        #expect(try await store.deletedLog(of: gone.record.id, tenant: TenantID(high: 7, low: 7)) == nil)
        func delete(before: Timestamp, now: Timestamp) async throws -> ExpiredCount {
            try await store.deleteExpired(.deletedQueues(before: before, now: now), limit: 3)
        }
        // It is seen to be deleted, and its time begins.
        #expect(try await delete(before: Timestamp(seconds: 50), now: Timestamp(seconds: 100)) == ExpiredCount(deleted: 0, hasMore: false))
        #expect(try await delete(before: Timestamp(seconds: 99), now: future) == ExpiredCount(deleted: 0, hasMore: false))
        #expect(try await store.entries(of: gone.record.id, after: 0, limit: 99).count == 14)
        var deleted = 0
        while case let count = try await delete(before: Timestamp(seconds: 101), now: future), count.hasMore {
            #expect(count.deleted <= 3)
            deleted += count.deleted
            // As long as the row is there it says what has been deleted.
            if let left = try await store.deletedLog(of: gone.record.id, tenant: tenant.id) {
                #expect(left.first == min(UInt64(deleted), head) + 1)
                #expect(left.head == head)
            }
        }
        // Fourteen entries, ten sessions, two announcements, a reader and the row.
        #expect(deleted == 28)
        #expect(try await store.logBounds(of: gone.record.id) == nil)
        #expect(try await store.deletedLog(of: gone.record.id, tenant: tenant.id) == nil)
        #expect(try await store.sessions(tenant: tenant.id, queue: nil, status: nil, after: nil, limit: 99).items.count == 2)
        #expect(try await QueueState(#require(store.loadQueue(stays.record.id)).image) == stays.state)
    }
}
