import QueueEngine

/// Queues whose changes are not decided for a while: kept for another instance, brought up to date, or backing off after a failure.
extension QueueService {
    /// Leaves the queue to the instance that it is kept for: until that has written, or for a moment.
    func giveWay(in id: QueueID) { block(id, for: QueueService.reservationBackoff) }

    /// Another instance has written, or has had the time to.
    func goOn(in id: QueueID) {
        guard let queue = hosted[id], !queue.isCatchingUpAfterLoss, !queue.isBackingOff, backlog.unblock(id) else { return }
        beginCommitting()
    }

    /// Tries the queue again after a pause that doubles with each failure in a row, from 1 s to `longest`. Callers do not wait
    /// for it.
    func backOff(_ id: QueueID, _ error: ServiceError, longest: Timestamp.Span = .seconds(64)) {
        guard let queue = hosted[id] else { return }
        let failures = queue.failures + 1
        hosted[id]!.failures = failures
        hosted[id]!.isBackingOff = true
        for command in backlog.takeCommands(of: id) { command.fail(error) }
        resumeIdleWaiters()
        backlog.block(id)
        clock.wake(at: clock.now() + min(longest, .seconds(1 << min(failures - 1, 6)))) { [weak self] in
            self?.later { service in
                // A later failure has a pause of its own.
                guard service.hosted[id]?.failures == failures else { return }
                service.hosted[id]?.isBackingOff = false
                service.goOn(in: id)
            }
        }
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
            backOff(id, .unavailable(retryAfterSeconds: 1))
        }
    }
}
