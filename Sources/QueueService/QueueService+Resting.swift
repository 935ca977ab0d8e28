import QueueEngine

/// A queue that nobody visits costs its row in the store and nothing else: it is served from its first visit, or shortly
/// before its next deadline, until it has been quiet for a while.
extension QueueService {
    /// How long before its deadline a queue at rest is served at the latest. Commits of others that took long are found, too.
    static let wakeAhead = Timestamp.Span.seconds(60)
    /// Queues that are read at once.
    private static let loadsAtOnce = 16

    // MARK: Waking

    /// Serves the queues in which somebody has come, or to which time is about to bring something, since the last look.
    ///
    /// The moment at which somebody comes is the queue's own and written a little later, so each look goes back a minute.
    func wakeQueues() async throws(StoreError) {
        let now = clock.now()
        let end = now + QueueService.wakeAhead + lease.beat
        var point = wakeSearchedThrough.map { WakePoint(at: $0 - QueueService.slowestNews, queue: WakePoint.first.queue) } ?? .first
        while true {
            let page = try await store.wakingQueues(after: point, through: end, limit: QueueService.wakePage)
            try await load(page.map(\.queue).filter { hosted[$0] == nil })
            guard page.count == QueueService.wakePage, let last = page.last else { break }
            point = last
        }
        wakeSearchedThrough = now
        retryUnreadable()
    }

    /// Reads those again that could not be read: a bad page, or a disk that failed for a moment. Nobody waits for it: there may be
    /// many, and each may have a million rows.
    private func retryUnreadable() {
        guard !isReadingUnreadable, !unreadable.due(at: clock.now()).isEmpty else { return }
        isReadingUnreadable = true
        later { service in
            await service.readUnreadable()
            service.isReadingUnreadable = false
        }
    }

    private func readUnreadable() async {
        for id in unreadable.due(at: clock.now()) where hosted[id] == nil {
            do throws(StoreError) {
                try await loadServed(id)
                // It is served now, or it is not there any more.
                unreadable.remove(id)
            } catch {
                // What is damaged has been noted where it was read.
                if case .corrupt = error { continue }
                unreadable.insert(id, at: clock.now())
            }
        }
    }

    private func load(_ ids: [QueueID]) async throws(StoreError) {
        var rest = ids[...]
        while !rest.isEmpty {
            let part = rest.prefix(QueueService.loadsAtOnce)
            rest = rest.dropFirst(part.count)
            let tasks = part.map { id in
                Task(executorPreference: executor.tasks) { () async -> Result<Void, StoreError> in
                    do throws(StoreError) { return .success(try await self.loadServed(id)) } catch {
                        // One queue that makes no sense must not keep the others from being served.
                        if case .corrupt = error { return .success(()) }
                        return .failure(error)
                    }
                }
            }
            for task in tasks { try await task.value.get() }
        }
    }

    // MARK: Coming to rest

    /// Puts the queue to rest after a while, where nobody is in it, nobody follows it and no deadline is near.
    func considerRest(_ id: QueueID) {
        guard hosted[id]?.isRestPlanned == false, isQuiet(id) else { return }
        let isFirst = resting.isEmpty
        planRest(id, since: clock.now())
        if isFirst { scheduleRest() }
    }

    private func planRest(_ id: QueueID, since now: Timestamp) {
        hosted[id]!.isRestPlanned = true
        resting.append((id, now))
    }

    private func scheduleRest() {
        guard let first = resting.first else { return }
        wake(at: first.since + restAfter) { $0.putToRest() }
    }

    private func putToRest() {
        let now = clock.now()
        while let (id, since) = resting.first, since + restAfter <= now {
            resting.removeFirst()
            guard let queue = hosted[id], queue.isRestPlanned else { continue }
            hosted[id]!.isRestPlanned = false
            guard isQuiet(id) else { continue }
            if queue.isBusy || backlog.concerns(id) || queue.visitedAt + restAfter > now {
                planRest(id, since: now)
            } else if forget(id) {
                for observer in observers { observer.queueRested(id) }
            }
        }
        scheduleRest()
    }

    /// Whether the queue can be put to rest once nothing is under way in it any more.
    private func isQuiet(_ id: QueueID) -> Bool {
        guard let queue = hosted[id], queue.snapshot != nil, queue.followers == 0, !queue.state.isOccupied,
            queue.presence.nextLapse == nil
        else { return false }
        let now = clock.now()
        let soon = now + restAfter + QueueService.wakeAhead + lease.beat + lease.beat
        return queue.state.nextWake(after: now).map { $0 > soon } ?? true
    }

    // MARK: Followers

    /// Keeps the queue served as long as the pin lives: somebody follows its events.
    public func follow(_ id: QueueID) -> QueuePin {
        hosted[id]?.followers += 1
        return QueuePin { [weak self] in self?.later { $0.unfollow(id) } }
    }

    private func unfollow(_ id: QueueID) {
        guard hosted[id] != nil else { return }
        hosted[id]!.followers = max(0, hosted[id]!.followers - 1)
        considerRest(id)
    }
}

/// Keeps a queue served until it goes.
public final class QueuePin: Sendable {
    private let released: @Sendable () -> Void
    init(_ released: @escaping @Sendable () -> Void) { self.released = released }
    deinit { released() }
}
