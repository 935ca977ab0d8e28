import QueueEngine
import Telemetry
import Testing
import TestSupport

@testable import QueueService

@Suite struct CacheTests {
    private func join(_ service: QueueService, _ queue: QueueID, count: Int) async throws {
        try await withThrowingTaskGroup { group in
            for _ in 0..<count { group.addTask { _ = try await service.join(queue, visitor: Visitor(), holder: .connection) } }
            try await group.waitForAll()
        }
    }

    private func readAll(_ service: QueueService, _ queue: QueueID, _ tenant: TenantID) async throws -> [LogEntry] {
        var entries: [LogEntry] = []
        while case let next = try await service.entries(of: queue, tenant: tenant, after: UInt64(entries.count), epoch: nil),
            !next.isEmpty
        {
            entries += next
        }
        return entries
    }

    /// Fifty readers at once, over a page and a half: each page is read from the store once, and nobody misses anything.
    @Test(arguments: StoreKind.allCases) func whoAsksForTheSameReadsItOnce(_ kind: StoreKind) async throws {
        let instances = try await Instances(kind, count: 1)
        let service = instances.services[0]
        let queue = try await instances.makeQueue(QueueConfiguration(releaseRatePerMinute: 0))
        try await join(service, queue, count: 800)
        let truth = try await instances.store.entries(of: queue, after: 0, limit: 10_000)
        var reads = CacheReads(instances)
        try await withThrowingTaskGroup { group in
            for _ in 0..<50 {
                group.addTask { try await #require(self.readAll(service, queue, instances.tenant) == truth) }
            }
            try await group.waitForAll()
        }
        #expect(reads.take() == [.store: 2, .memory: 98])
        // What is new is read, once.
        try await join(service, queue, count: 1)
        for _ in 0..<3 {
            let last = try await service.entries(of: queue, tenant: instances.tenant, after: UInt64(truth.count), epoch: nil)
            #expect(last.map(\.event.seq) == [UInt64(truth.count) + 1])
        }
        #expect(reads.take() == [.store: 1, .memory: 2])
    }

    /// What the store may have deleted meanwhile, or the names in it, nobody is told from memory.
    @Test func whatIsOlderThanRetentionIsReadFromTheStore() async throws {
        var retention = RetentionSettings()
        (retention.log, retention.sessions) = (.seconds(86_400), .seconds(7 * 86_400))
        let instances = try await Instances(count: 1, retention: retention)
        let service = instances.services[0]
        let queue = try await instances.makeQueue(QueueConfiguration(releaseRatePerMinute: 0))
        try await join(service, queue, count: 800)
        var reads = CacheReads(instances)
        for _ in 0..<2 { _ = try await readAll(service, queue, instances.tenant) }
        #expect(reads.take() == [.store: 2, .memory: 2])
        instances.clock.advance(.seconds(86_401))
        _ = try await readAll(service, queue, instances.tenant)
        #expect(reads.take() == [.store: 2])
        // It is deleted once a minute, so nobody need ask more often.
        _ = try await readAll(service, queue, instances.tenant)
        #expect(reads.take() == [.memory: 2])
        instances.clock.advance(.seconds(60))
        _ = try await readAll(service, queue, instances.tenant)
        #expect(reads.take() == [.store: 2])
    }

    /// Readers follow a queue that two instances write, across the ends of pages.
    @Test func readersFollowAcrossPages() async throws {
        let instances = try await Instances(.postgres, count: 2)
        let (one, other) = (instances.services[0], instances.services[1])
        let queue = try await instances.makeQueue(QueueConfiguration(releaseRatePerMinute: 0))
        for _ in 0..<12 {
            // One gives way to the other for a moment, which a clock that stands still would never end.
            try await instances.whileTimePasses {
                async let first: Void = join(one, queue, count: 60)
                async let second: Void = join(other, queue, count: 60)
                _ = try await (first, second)
            }
            for service in [one, other] { await service.catchUp(queue) }
            let truth = try await instances.store.entries(of: queue, after: 0, limit: 10_000)
            #expect(try await readAll(one, queue, instances.tenant) == truth)
            #expect(try await readAll(other, queue, instances.tenant) == truth)
        }
    }

    /// Each admission is in the mean after a second at most, and until the next one nobody asks the store.
    @Test func theMeanWaitIsASecondOldAtMost() async throws {
        let instances = try await Instances(count: 1)
        let service = instances.services[0]
        let queue = try await instances.makeQueue(QueueConfiguration(maxConcurrentUsers: 10, releaseRatePerMinute: 60))
        #expect(try await service.averageWait(of: queue) == nil)
        instances.clock.advance(.seconds(1))
        try await join(service, queue, count: 3)
        // The first is let in at once.
        for expected in 1...3 {
            if expected > 1 { instances.clock.advance(.seconds(1)) }
            #expect(try await eventually { try await service.queue(queue).state.admitted.count == expected })
            var reads = CacheReads(instances)
            let truth = try await instances.store.averageWait(of: queue, last: 1_000)
            for _ in 0..<5 { #expect(try await service.averageWait(of: queue) == truth) }
            #expect(reads.take() == [.store: 1, .memory: 4])
        }
        // Two within a second: nobody asks for the second one until that is over.
        _ = try await service.update(queue, tenant: instances.tenant) { $0.configuration.releaseRatePerMinute = 600 }
        let before = try await service.averageWait(of: queue)
        var reads = CacheReads(instances)
        for expected in 4...5 {
            try await join(service, queue, count: 1)
            instances.clock.advance(.milliseconds(300))
            #expect(try await eventually { try await service.queue(queue).state.admitted.count == expected })
            #expect(try await service.averageWait(of: queue) == before)
        }
        #expect(reads.take() == [.memory: 2])
        instances.clock.advance(.milliseconds(400))
        #expect(try await service.averageWait(of: queue) == instances.store.averageWait(of: queue, last: 1_000))
        #expect(reads.take() == [.store: 1])
    }

    @Test func whatWasAskedForLongestAgoIsGivenUp() {
        var cache = MemoryCache(capacity: 80)
        func key(_ number: UInt64) -> CacheKey {
            CacheKey(queue: QueueID(high: 1, low: 1), epoch: 1, subject: .page(number))
        }
        let page = CacheValue.page((1...10).map { LogEntry(event: QueueEvent(seq: $0, at: Timestamp(seconds: 1), change: .opened)) })
        for number in 0..<8 as Range<UInt64> { cache.keep(page, for: key(number), readAt: .distantPast) }
        #expect(cache.value(for: key(0))?.value == page)
        cache.keep(page, for: key(8), readAt: .distantPast)
        #expect((0...8).filter { cache.value(for: key($0)) != nil } == [0, 3, 4, 5, 6, 7, 8])
        cache.keep(
            .page((1...81).map { LogEntry(event: QueueEvent(seq: $0, at: Timestamp(seconds: 1), change: .opened)) }), for: key(9),
            readAt: .distantPast)
        #expect(cache.value(for: key(9)) == nil && cache.value(for: key(0))?.value == page)
    }
}

/// How often something was found at which level, since this was last asked.
private struct CacheReads {
    private let instances: Instances
    private var before: [CacheLevel: Int] = [:]

    init(_ instances: Instances) {
        self.instances = instances
        _ = take()
    }

    mutating func take() -> [CacheLevel: Int] {
        let levels = CacheLevel.allCases.map { ($0, instances.counted("stanchion_cache_reads_total{level=\"\($0.rawValue)\"}")) }
        let now = Dictionary(uniqueKeysWithValues: levels)
        defer { before = now }
        return now.map { ($0.key, $0.value - before[$0.key, default: 0]) }.reduce(into: [:]) { if $1.1 != 0 { $0[$1.0] = $1.1 } }
    }
}
