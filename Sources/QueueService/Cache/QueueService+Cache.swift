import QueueEngine
import Telemetry

/// Reading through two levels of cache. Never the line itself: that is the replicas'.
extension QueueService {
    /// Entries of a page of the log.
    static let pageEntries: UInt64 = 512

    /// From memory, else from what the instances share, else from `load`. Of any number who ask for it at once one looks.
    private func cached(_ key: CacheKey, _ load: () async throws(StoreError) -> CacheValue) async throws(StoreError) -> CacheValue {
        if let value = inMemory(key) { return value }
        await acquire(key)
        defer { loading.release(key) }
        // Whoever had the key may have kept it.
        if let value = inMemory(key) { return value }
        let now = clock.now()
        if let value = await shared?.value(for: key), isWithinRetention(value) {
            memory.keep(value, for: key, readAt: now)
            return found(value, at: .shared)
        }
        let value = try await load()
        // Less than a page is not for good: part of it was pruned.
        guard value.isWhole else { return found(value, at: .store) }
        memory.keep(value, for: key, readAt: now)
        if isWithinRetention(value) { shared?.keep(value, for: key) }
        return found(value, at: .store)
    }

    /// What needs no look elsewhere. Without a wait, so that those who ask for the same one do not queue up.
    private func inMemory(_ key: CacheKey) -> CacheValue? {
        guard let value = remembered(key)?.value, value.isWhole else { return nil }
        return found(value, at: .memory)
    }

    /// What is in memory; nil where it was read longer ago than one pause of retention, which may have deleted part of it since, or
    /// names in it.
    private func remembered(_ key: CacheKey) -> (value: CacheValue, readAt: Timestamp)? {
        guard let known = memory.value(for: key) else { return nil }
        return isWithinRetention(known.value) || clock.now() - known.readAt < QueueService.retentionPause ? known : nil
    }

    /// Whether all of it is too young to have been deleted.
    private func isWithinRetention(_ value: CacheValue) -> Bool {
        guard case .page(let entries) = value, let first = entries.first, let age = retention.shortestOfLogs else { return true }
        return first.event.at > clock.now() - age
    }

    private func found<Value>(_ value: Value, at level: CacheLevel) -> Value {
        measurements.read(from: level)
        return value
    }

    private func acquire(_ key: CacheKey) async {
        guard !loading.tryAcquire(key) else { return }
        await withCheckedContinuation { loading.wait($0, for: key) }
    }

    // MARK: The log

    /// Entries after `seq` and up to the replica's head at least, as far as one page has them. Empty: there is nothing newer.
    func page(of id: QueueID, after seq: UInt64) async throws(StoreError) -> ArraySlice<LogEntry> {
        guard let queue = hosted[id], seq < queue.state.head else { return [] }
        let number = seq / QueueService.pageEntries
        let key = CacheKey(queue: id, epoch: queue.record.epoch, subject: .page(number))
        if (number + 1) * QueueService.pageEntries > queue.state.head { return try await tail(key, number, after: seq) }
        return try await page(of: id, queue.record.epoch, after: seq)
    }

    /// The same of a page to which nothing is added.
    func page(of id: QueueID, _ epoch: UInt64, after seq: UInt64) async throws(StoreError) -> ArraySlice<LogEntry> {
        let number = seq / QueueService.pageEntries
        let value = try await cached(CacheKey(queue: id, epoch: epoch, subject: .page(number))) { () throws(StoreError) in
            .page(try await store.entries(of: id, after: number * QueueService.pageEntries, limit: Int(QueueService.pageEntries)))
        }
        guard case .page(let entries) = value else { return [] }
        return entries.drop { $0.event.seq <= seq }
    }

    /// The last page, which grows: only what is new is read, and others are given it when it is full.
    private func tail(_ key: CacheKey, _ number: UInt64, after seq: UInt64) async throws(StoreError) -> ArraySlice<LogEntry> {
        let start = number * QueueService.pageEntries
        // As far as the log went when the caller asked: after a wait for the lock, what another caller has read is enough.
        let wanted = min(hosted[key.queue]?.state.head ?? 0, start + QueueService.pageEntries)
        await acquire(key)
        defer { loading.release(key) }
        var entries: [LogEntry] = []
        var readAt = clock.now()
        if let known = remembered(key), case .page(let page) = known.value { (entries, readAt) = (page, known.readAt) }
        let last = entries.last?.event.seq ?? start
        if last >= wanted { return found(entries, at: .memory).drop { $0.event.seq <= seq } }
        let room = Int(start + QueueService.pageEntries - last)
        entries += found(try await store.entries(of: key.queue, after: last, limit: room), at: .store)
        let page = CacheValue.page(entries)
        memory.keep(page, for: key, readAt: readAt)
        if page.isWhole, isWithinRetention(page) { shared?.keep(page, for: key) }
        return entries.drop { $0.event.seq <= seq }
    }

    // MARK: Statistics

    /// Admissions over which a mean wait is taken.
    private static let meanOver = 1_000

    /// The mean wait of the last thousand who were admitted, in seconds; nil where nobody was. At most a second old.
    public func averageWait(of id: QueueID) async throws(ServiceError) -> Double? {
        guard let epoch = hosted[id]?.record.epoch, let admission = hosted[id]?.admissionToTell(at: clock.now()) else {
            throw .noSuchQueue
        }
        let key = CacheKey(queue: id, epoch: epoch, subject: .averageWait(admission))
        if case .averageWait(let seconds) = inMemory(key) { return seconds }
        let value = try await asking { () throws(StoreError) in
            try await cached(key) { () throws(StoreError) in
                .averageWait(try await store.averageWait(of: id, last: QueueService.meanOver))
            }
        }
        if case .averageWait(let seconds) = value { return seconds } else { return nil }
    }

    /// The same for a page of queues, served or at rest: those that are not in memory are asked for with one call.
    public func averageWaits(of queues: [QueueSnapshot]) async throws(ServiceError) -> [QueueID: Double] {
        var waits: [QueueID: Double] = [:]
        var missing: [CacheKey] = []
        for queue in queues {
            let id = queue.record.id
            // In a queue at rest nothing has happened since its last event.
            let admission = hosted[id]?.admissionToTell(at: clock.now()) ?? queue.state.head
            let key = CacheKey(queue: id, epoch: queue.record.epoch, subject: .averageWait(admission))
            if case .averageWait(let seconds) = memory.value(for: key)?.value { waits[id] = seconds } else { missing.append(key) }
        }
        guard !missing.isEmpty else { return waits }
        let found = try await asking { () throws(StoreError) in
            try await store.averageWaits(of: missing.map(\.queue), last: QueueService.meanOver)
        }
        for key in missing {
            memory.keep(.averageWait(found[key.queue]), for: key, readAt: clock.now())
            waits[key.queue] = found[key.queue]
        }
        return waits
    }
}

extension CacheValue {
    /// A page of which nothing is missing; anything else is whole.
    fileprivate var isWhole: Bool {
        guard case .page(let entries) = self else { return true }
        return UInt64(entries.count) == QueueService.pageEntries
            && entries.last!.event.seq - entries.first!.event.seq == QueueService.pageEntries - 1
    }
}
