import Logging
import Metrics
import QueueEngine
import Telemetry

/// What time brings, and when.
extension QueueService {
    /// Does `body` on the service's executor, soon. A task without that would wait for a shared thread first.
    nonisolated func later(_ body: @escaping @Sendable (isolated QueueService) async -> Void) {
        _ = Task<Void, Never>(executorPreference: executor.tasks) { await body(self) }
    }

    /// The same soon after `moment`, where the service has not ended by then.
    func wake(at moment: Timestamp, _ body: @escaping @Sendable (isolated QueueService) async -> Void) {
        clock.wake(at: moment) { [weak self] in
            self?.later { service in if service.life == .serving { await body(service) } }
        }
    }

    /// Plans anew when each queue is woken: after an outage, and when the turns of instances have changed.
    func scheduleWake() { scheduleWake(for: Array(hosted.keys)) }

    /// Plans when these queues are woken, where something may have changed for them. During an outage the heartbeat asks
    /// the store, and its end plans anew.
    func scheduleWake(for ids: some Sequence<QueueID>) {
        guard outage == nil else { return }
        let now = clock.now()
        for id in ids {
            wakes.plan(id, at: nextWake(of: id, after: now))
            considerRest(id)
        }
        armWake(now)
    }

    private func armWake(_ now: Timestamp) {
        guard let moment = wakes.nextAlarm(at: now) else { return }
        wake(at: moment) { $0.wake(moment) }
    }

    private func wake(_ moment: Timestamp) {
        wakes.alarmFired(moment)
        guard outage == nil else { return }
        let now = clock.now()
        for id in wakes.takeDue(at: now) { tick(id) }
        armWake(now)
    }

    /// Lets what is due in the queue happen.
    private func tick(_ id: QueueID) {
        guard peers.turn(of: instance, for: id) > 0 else { return decideWhatIsDue(id) }
        // The instance whose turn it was has perhaps done it, and the word of it was lost.
        hosted[id]?.isTicking = true
        Task {
            await catchUp(id)
            hosted[id]?.isTicking = false
            decideWhatIsDue(id)
        }
    }

    private func decideWhatIsDue(_ id: QueueID) {
        let now = clock.now()
        guard let next = nextWake(of: id, after: now), next <= now else { return scheduleWake(for: CollectionOfOne(id)) }
        hosted[id]?.isTicking = true
        changePresence(of: id) { $0.isTickDue = true }
    }

    /// A tick decided nothing. That should not happen; where it does all the same it must not happen again and again.
    func noteIdleTick(_ id: QueueID) {
        let now = clock.now()
        guard let queue = hosted[id], let next = nextWake(of: id, after: now), next <= now else { return }
        let count = min((queue.idleTicks?.count ?? 0) + 1, 6)
        hosted[id]?.idleTicks = (count, now + .seconds(1 << (count - 1)))
        if count == 1 { log.warning("a queue was due and nothing happened in it", metadata: ["queue": "\(id)"]) }
        measurements.idleTicks.increment()
    }

    /// Nil while it is being seen to: a store that takes its time is not asked for the same again and again.
    private func nextWake(of id: QueueID, after now: Timestamp) -> Timestamp? {
        guard let queue = hosted[id], !queue.isTicking, !queue.isCommitting else { return nil }
        let next = queue.nextWake(after: now, turn: peers.turn(of: instance, for: id))
        guard let idle = queue.idleTicks else { return next }
        return next.map { max($0, idle.until) }
    }
}

extension HostedQueue {
    /// When time will next change something.
    ///
    /// - Parameter turn: how many instances come before this one in seeing to it. What was polled here is its own affair.
    func nextWake(after now: Timestamp, turn: @autoclosure () -> Int) -> Timestamp? {
        guard snapshot != nil else { return nil }
        return [nextTick(after: now, turn), presence.nextLapse].compactMap { $0 }.min()
    }

    private func nextTick(after now: Timestamp, _ turn: () -> Int) -> Timestamp? {
        guard let due = state.nextWake(after: now) else { return nil }
        let turn = turn()
        guard turn > 0 else { return due }
        let delay = Timestamp.Span(microseconds: Int64(turn) * QueueService.turnDelay.microseconds)
        // What came due before has brought nothing, as when the line stops waiting and the pace does not allow a release yet.
        if due > now + .milliseconds(1) { return due + delay }
        // Counted from the last thing that happened: seen from now, a release that is long due is always about to be.
        return (state.nextWake(after: state.lastEventAt) ?? due) + delay
    }
}
