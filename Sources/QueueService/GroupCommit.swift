import Locks
import Logging
import Metrics
import QueueEngine
import Telemetry

/// What waits together is committed together.
extension QueueService {
    /// Runs `body` against the queue and returns once what it brought is committed.
    ///
    /// Nobody comes to the service's executor for it and goes back: whoever calls waits where it is, and a thousand who
    /// arrive together wake the service once.
    ///
    /// `body` may run more than once, and must change nothing where it throws.
    @discardableResult
    func perform<R: Sendable>(
        on queue: QueueID, isolation: isolated (any Actor)? = #isolation,
        _ body: @escaping @Sendable (inout Decision) throws(ServiceError) -> R
    ) async throws(ServiceError) -> AwaitedCommand<R>.Committed {
        let traced = slow?.begin("queue.commit")
        defer { traced?.end() }
        do throws(ServiceError) {
            let committed = try await withCheckedContinuation { continuation in
                arrive(AwaitedCommand(queue, continuation, body))
            }.get()
            measurements.became(.done)
            return committed
        } catch {
            measurements.became(error.isOfTheStore ? .failed : .refused)
            throw error
        }
    }

    nonisolated private func arrive(_ command: any PendingCommand) {
        let isFirst = arrivals.withLock { arrivals in
            arrivals.append(command)
            return arrivals.count == 1
        }
        guard isFirst else { return }
        executor.execute { self.assumeIsolated { $0.takeArrivals() } }
    }

    /// Lets in who has arrived, or says why not.
    func takeArrivals() {
        let arrived = arrivals.withLock { arrivals in
            defer { arrivals = [] }
            return arrivals
        }
        for command in arrived {
            if let refusal = refusal(of: command.queue) { _ = command.fail(refusal) } else { pending.append(command) }
        }
        if !pending.isEmpty { beginCommitting() }
    }

    private func refusal(of queue: QueueID) -> ServiceError? {
        guard life != .ended else { return .unavailable(retryAfterSeconds: 1) }
        guard hosted.index(forKey: queue) != nil else { return .noSuchQueue }
        // Whoever asks is told at once, not after a time limit; that the store is back is found out by asking it.
        if let outage { return outage.error }
        // A store that hangs must not gather waiters without end.
        return pending.count < QueueService.pendingLimit ? nil : .unavailable(retryAfterSeconds: 5)
    }

    func enqueue(_ command: any PendingCommand) {
        pending.append(command)
        beginCommitting()
    }

    func beginCommitting() {
        // During an outage what must not be lost waits for the beat that finds the store back.
        guard !isCommitting, outage == nil, life != .ended else { return }
        isCommitting = true
        // It goes on for others, too: it is no part of what was asked by whoever came first.
        _ = Operation.apart { Task(executorPreference: executor.tasks) { await self.commitAll() } }
    }

    /// Commits batch after batch until nothing waits. While one is in the store's hands the next one gathers.
    private func commitAll() async {
        while true {
            let batch = takePending()
            guard !batch.isEmpty else { break }
            let again = await commit(batch)
            pending.insert(contentsOf: again, at: 0)
            if let outage {
                // Who waits for an answer gets this one; who is in sight is told to the store when it is back.
                pending.removeAll { $0.fail(outage.error) }
                break
            }
            scheduleWake(for: Set(batch.map(\.queue)))
        }
        isCommitting = false
    }

    /// All that may be decided now.
    private func takePending() -> [any PendingCommand] {
        let all = pending
        guard !givesWay.isEmpty else {
            pending = []
            return all
        }
        pending = all.filter { givesWay.contains($0.queue) }
        return all.filter { !givesWay.contains($0.queue) }
    }

    /// Leaves the queue to the instance that it is kept for: until that has written, or for a moment.
    private func giveWay(in id: QueueID) {
        givesWay.insert(id)
        // Also where the service is about to end: what was asked before is still committed.
        clock.wake(at: clock.now() + QueueService.waitForOther) { [weak self] in self?.later { $0.goOn(in: id) } }
    }

    /// Somebody else has written, or has had the time to.
    func goOn(in id: QueueID) {
        if givesWay.remove(id) != nil, !pending.isEmpty { beginCommitting() }
    }

    /// One queue's part of a batch. Each command with what it added, so that a conflict meets only its author.
    private struct Undecided {
        struct Entry {
            let command: any PendingCommand
            let events: Range<Int>
            let receipts: Range<Int>
        }
        var decision: Decision
        var entries: [Entry] = []
        var commands: [any PendingCommand] { entries.map(\.command) }
    }

    /// Decides and commits one batch. Returns the commands that lost a race, to be decided anew.
    private func commit(_ batch: [any PendingCommand]) async -> [any PendingCommand] {
        let decided = decide(batch)
        // The others wait for one that lost against them, also for its word that there is nothing to say any more.
        let needsCommit = { (item: Undecided) in !item.decision.isEmpty || self.hosted[item.decision.record.id]!.isKept }
        let toCommit = decided.filter(needsCommit)
        for item in decided where !needsCommit(item) {
            let id = item.decision.record.id
            hosted[id]?.presence = item.decision.presence
            succeed(item.entries, id)
        }
        guard !toCommit.isEmpty else { return [] }
        for item in toCommit { beginCommit(of: item.decision.record.id) }
        defer { for item in toCommit { endCommit(of: item.decision.record.id) } }
        do throws(StoreError) {
            let outcomes = try await store.append(toCommit.map(\.decision.append), by: instance)
            endOutage()
            for (item, outcome) in zip(toCommit, outcomes) where outcome != .committed { endCommit(of: item.decision.record.id) }
            // This process was frozen, or the store was. What was asked is decided anew once there is a lease again.
            if outcomes.contains(.lapsed) { await beat() }
            var again: [any PendingCommand] = []
            var messages: [BusMessage] = []
            for (item, outcome) in zip(toCommit, outcomes) {
                again += await settle(item, outcome, &messages)
            }
            if !messages.isEmpty { publish(messages) }
            return again
        } catch {
            log.error("a commit failed", metadata: ["error": "\(error)"])
            for item in toCommit { doubt(item.decision, after: error) }
            beginOutage(ServiceError(error))
            return toCommit.flatMap(\.commands).filter { !$0.fail(ServiceError(error)) }
        }
    }

    private func succeed(_ entries: [Undecided.Entry], _ id: QueueID) {
        let snapshot = hosted[id]?.snapshot
        for entry in entries { entry.command.succeed(snapshot) }
    }

    private func decide(_ batch: [any PendingCommand]) -> [Undecided] {
        let now = clock.now()
        return QueueService.byQueue(batch).compactMap { id, commands in
            guard let queue = hosted[id] else {
                for command in commands { _ = command.fail(.noSuchQueue) }
                return nil
            }
            hosted[id]!.isTicking = false
            var item = Undecided(decision: Decision(queue, now: now))
            for command in commands {
                let (events, receipts) = (item.decision.events.count, item.decision.receipts.count)
                do throws(ServiceError) {
                    try command.decide(&item.decision)
                    item.entries.append(
                        .init(
                            command: command, events: events..<item.decision.events.count,
                            receipts: receipts..<item.decision.receipts.count))
                } catch {
                    _ = command.fail(error)
                }
            }
            item.decision.advance()
            return item
        }
    }

    /// In the order in which the queues come up. Most often there is one.
    private static func byQueue(_ batch: [any PendingCommand]) -> [(id: QueueID, commands: [any PendingCommand])] {
        var parts: [(id: QueueID, commands: [any PendingCommand])] = []
        var places: [QueueID: Int] = [:]
        for command in batch {
            let id = command.queue
            let place = parts.last?.id == id ? parts.count - 1 : places[id] ?? parts.count
            if place == parts.count {
                places[id] = place
                parts.append((id, []))
            }
            parts[place].commands.append(command)
        }
        return parts
    }

    private func settle(_ item: Undecided, _ outcome: AppendOutcome, _ messages: inout [BusMessage]) async -> [any PendingCommand] {
        let id = item.decision.record.id
        switch outcome {
        case .committed:
            adopt(item.decision)
            messages.append(item.decision.message)
            succeed(item.entries, id)
            return []
        case .behind:
            hosted[id]?.isKept = true
            await catchUp(id)
            return item.commands
        case .reserved:
            // Whom it is kept for may have written meanwhile, and the word of it have come before this answer.
            if hosted[id]?.state.position == item.decision.base { giveWay(in: id) }
            return item.commands
        case .lapsed: return item.commands
        case .userConflict(let index):
            return item.entries.filter { !($0.events.contains(index) && $0.command.fail(.userHasPlace)) }.map(\.command)
        case .receiptConflict(let index):
            return item.entries.filter { !($0.receipts.contains(index) && $0.command.fail(.alreadyDone)) }.map(\.command)
        case .slugTaken:
            return item.commands.filter { !$0.fail(.slugTaken) }
        case .failed(let error):
            doubt(item.decision, after: error)
            log.error("a commit was refused", metadata: ["queue": "\(id)", "error": "\(error)"])
            let again = item.commands.filter { !$0.fail(ServiceError(error)) }
            // Without those who asked for what was refused the others may pass; where there was nobody else, time may help.
            if again.count == item.commands.count { beginOutage(ServiceError(error)) }
            return again
        }
    }

    /// The replica becomes what was committed.
    private func adopt(_ decision: Decision) {
        let id = decision.record.id
        guard let old = hosted[id]?.adopt(decision) else { return }
        for (event, _) in decision.events { measurements.committed(EventKind(event.change)) }
        if let due = old.due {
            if decision.events.contains(where: { $0.event.change.isAdmission }) {
                measurements.releaseLagSeconds.recordNanoseconds(1_000 * max(0, (clock.now() - due).microseconds))
            }
        }
        rename(old.record, to: decision.record)
        let announcements = decision.events.compactMap { event, detail -> Announcement? in
            guard case .announcement(let text, let severity, let expiresAt) = detail, case .announced = event.change else { return nil }
            return Announcement(seq: event.seq, text: text, severity: severity, publishedAt: event.at, expiresAt: expiresAt)
        }
        if !announcements.isEmpty { hosted[id]?.announcements.prepend(announcements) }
        notify(id, events: decision.events.map(\.event), announcements: announcements)
        if decision.events.contains(where: { $0.event.change.isClosing }) { goOnClosing(id) }
    }
}

extension EventKind {
    fileprivate init(_ change: QueueEvent.Change) {
        self =
            switch change {
            case .configured: .configured
            case .opened: .opened
            case .paused: .paused
            case .resumed: .resumed
            case .closed: .closed
            case .announced: .announced
            case .joined: .joined
            case .connected: .connected
            case .disconnected, .everyoneDisconnected: .disconnected
            case .admitted: .admitted
            case .completed: .completed
            case .left: .left
            case .expired(_, .grace): .lost
            case .expired(_, .admission): .noShow
            case .expired(_, .removed): .removed
            }
    }
}
