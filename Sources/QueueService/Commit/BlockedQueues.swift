import QueueEngine

/// Queues whose changes are not decided for a while: kept for another instance, brought up to date, or backing off after a failure.
extension QueueService {
    /// Leaves the queue to the instance that it is kept for: until that has written, or for a moment.
    func giveWay(in id: QueueID) { block(id, for: QueueService.reservationBackoff) }

    /// Another instance has written, or has had the time to.
    func goOn(in id: QueueID) {
        guard let queue = hosted[id], !queue.isRebuilding, !queue.isCatchingUpAfterLoss, !queue.isBackingOff, backlog.unblock(id) else {
            return
        }
        beginCommitting()
    }

    /// Tries the queue again after a pause that doubles with each failure in a row, from 1 s to 16 s; after a second where it was
    /// only busy. Callers do not wait for it. Visitors are told that what they see may be old: at once, or with the third refusal
    /// in a row of a busy store. With nothing to commit they are told so for `staleness` after the pause.
    func backOff(_ id: QueueID, _ error: ServiceError, isBusy: Bool = false, staleness: Timestamp.Span = Outage.forgottenAfter) {
        guard let queue = hosted[id] else { return }
        let pause = queue.pauses + 1
        hosted[id]!.pauses = pause
        if isBusy { hosted[id]!.busyTurns += 1 } else { hosted[id]!.failures += 1 }
        hosted[id]!.isBackingOff = true
        hosted[id]!.refusedAt = clock.now()
        for command in backlog.takeCommands(of: id) { command.fail(error) }
        resumeIdleWaiters()
        backlog.block(id)
        if !isBusy || queue.busyTurns + 1 >= QueueService.busyTurnsUntilStale { beginStaleness(of: id) }
        let delay = min(QueueService.retryDelay(afterFailures: queue.failures + 1), QueueService.longestPause)
        clock.wake(at: clock.now() + (isBusy ? .seconds(1) : delay)) { [weak self] in
            self?.later { service in
                // A later failure has a pause of its own.
                guard service.hosted[id]?.pauses == pause else { return }
                service.hosted[id]?.isBackingOff = false
                service.goOn(in: id)
                service.forgetStaleness(of: id, after: pause, staleness)
            }
        }
    }

    /// The pause after so many failures in a row: 1 s, and twice as long each time, up to 64 s.
    static func retryDelay(afterFailures failures: Int) -> Timestamp.Span { .seconds(1 << min(failures - 1, 6)) }

    /// Once the trouble has passed, nobody can join for this long at most.
    private static let longestPause = Timestamp.Span.seconds(16)
    /// A row may be locked for a moment by another instance's commit; visitors are told when the store has refused this often.
    private static let busyTurnsUntilStale = 3

    /// The queue cannot be written: what is shown of it may be old. One that is still being created is shown to nobody.
    private func beginStaleness(of id: QueueID) {
        guard let queue = hosted[id], queue.snapshot != nil, queue.staleSince == nil else { return }
        hosted[id]!.staleSince = clock.now()
        notify(id, events: [])
    }

    /// The store has committed a change of the queue, or has refused none for long.
    func endStaleness(of id: QueueID) {
        guard hosted[id]?.staleSince != nil else { return }
        (hosted[id]!.staleSince, hosted[id]!.failures, hosted[id]!.busyTurns) = (nil, 0, 0)
        notify(id, events: [])
    }

    /// The staleness of a queue whose own rows are damaged or locked, which no other queue's commit contradicts. Longer than the
    /// time between two requests: while each of them is refused, visitors are not told `live` in between.
    static let stalenessOfRows = Timestamp.Span.seconds(60)

    /// Ends staleness without a commit, where nothing waits to be committed and nothing was refused for `staleness`.
    private func forgetStaleness(of id: QueueID, after pause: Int, _ staleness: Timestamp.Span) {
        guard hosted[id]?.staleSince != nil else { return }
        wake(at: clock.now() + staleness) { service in
            // A later refusal has a pause of its own.
            guard service.hosted[id]?.pauses == pause else { return }
            let isTried = service.backlog.hasWork(for: id) || service.hosted[id]?.isCommitting == true
            if isTried { service.forgetStaleness(of: id, after: pause, .seconds(1)) } else { service.endStaleness(of: id) }
        }
    }

    /// What another instance has committed since this one was refused shows that the queue can be written.
    func endStaleness(of id: QueueID, seeing event: Timestamp) {
        guard let queue = hosted[id], queue.staleSince != nil, let refusedAt = queue.refusedAt, event > refusedAt else { return }
        // What waits here may be just what is refused.
        guard !backlog.hasWork(for: id), !queue.isCommitting else { return }
        hosted[id]!.isBackingOff = false
        endStaleness(of: id)
        goOn(in: id)
    }

    /// How many queues have changes that the store refuses, or cannot be read.
    public var staleQueueCount: Int {
        hosted.values.count { $0.staleSince != nil } + unreadable.all.count { hosted[$0]?.staleSince == nil }
    }

    func block(_ id: QueueID, for pause: Timestamp.Span) {
        guard hosted.index(forKey: id) != nil else { return }
        backlog.block(id)
        // Also where the service is about to end: what was asked before is still committed.
        clock.wake(at: clock.now() + pause) { [weak self] in self?.later { $0.goOn(in: id) } }
    }

    /// Turns in which a lost commit found nothing new before the queue is given a longer pause.
    private static let fruitlessLimit = 5

    /// Reads what the replica lacks while other queues go on.
    func catchUpApart(_ id: QueueID, since base: LogPosition) {
        guard hosted.index(forKey: id) != nil else { return }
        hosted[id]!.isCatchingUpAfterLoss = true
        backlog.block(id)
        Task {
            await catchUp(id)
            // Deleted elsewhere: callers are told so, and not that it is closed.
            if hosted[id]?.state.status == .closed { await unhostIfDeleted(id) }
            guard let queue = hosted[id] else { return }
            hosted[id]!.isCatchingUpAfterLoss = false
            guard queue.state.position == base else {
                hosted[id]!.fruitlessTurns = 0
                return goOn(in: id)
            }
            // The log is elsewhere and nothing new was read: it cannot be read, or the queue is gone, as a heartbeat will say.
            hosted[id]!.fruitlessTurns += 1
            if queue.fruitlessTurns < QueueService.fruitlessLimit { return giveWay(in: id) }
            backOff(id, .unavailable(retryAfterSeconds: 1), staleness: QueueService.stalenessOfRows)
        }
    }
}
