import Locks
import Logging
import Metrics
import QueueEngine
import Telemetry

/// Group commit: what waits together is decided and committed together, in batches of bounded size.
extension QueueService {
    /// Runs `body` against the queue and returns once its events are committed.
    ///
    /// The caller waits where it is; a thousand callers that arrive together wake the service once.
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

    /// Moves arrived commands to the backlog, or refuses them.
    func takeArrivals() {
        let arrived = arrivals.withLock { arrivals in
            defer { arrivals = [] }
            return arrivals
        }
        // A crowd arrives for one queue, which need be checked only once.
        var last: (queue: QueueID, refusal: ServiceError?)?
        for command in arrived {
            if last?.queue != command.queue { last = (command.queue, refusal(of: command.queue)) }
            if let refusal = last?.refusal ?? refusalWhenFull { command.fail(refusal) } else { backlog.add(command) }
        }
        beginCommitting()
    }

    /// A store that hangs must not gather callers without end.
    private var refusalWhenFull: ServiceError? {
        backlog.commandCount < limits.pending ? nil : .unavailable(retryAfterSeconds: 5)
    }

    private func refusal(of queue: QueueID) -> ServiceError? {
        guard life != .ended else { return .unavailable(retryAfterSeconds: 1) }
        guard hosted.index(forKey: queue) != nil else { return .noSuchQueue }
        // Callers are answered at once during an outage, not after a time limit; the heartbeat finds out when it ends.
        if let outage { return outage.error }
        return hosted[queue]?.isBackingOff == true ? .unavailable(retryAfterSeconds: 1) : nil
    }

    /// Leaves a change of presence for the next batch. Nobody waits for it, and an outage does not lose it.
    func changePresence(of queue: QueueID, _ change: (inout PresenceChanges) -> Void) {
        guard hosted.index(forKey: queue) != nil else { return }
        backlog.changePresence(of: queue, change)
        beginCommitting()
    }

    func beginCommitting() {
        // During an outage changes of presence wait for the heartbeat that finds the store back.
        guard !isCommitting, outage == nil, life != .ended, backlog.hasWork else { return }
        isCommitting = true
        // It goes on for others, too: it is no part of what was asked by whoever came first.
        _ = Operation.apart { Task(executorPreference: executor.tasks) { await self.commitAll() } }
    }

    /// Commits batch after batch until nothing waits. While the store has one the next one gathers.
    private func commitAll() async {
        while outage == nil {
            let batch = backlog.take(limits.batch)
            guard !batch.isEmpty else { break }
            await commit(batch)
            scheduleWake(for: batch.map(\.queue))
        }
        if let outage { for command in backlog.takeCommands() { command.fail(outage.error) } }
        isCommitting = false
        resumeIdleWaiters()
    }

    /// One queue's part of a batch, with what each command added, so that a conflict concerns only its author.
    private struct Undecided {
        struct Entry {
            let command: any PendingCommand
            let events: Range<Int>
            let receipts: Range<Int>
        }
        var decision: Decision
        let presence: PresenceChanges
        var entries: [Entry] = []
        var id: QueueID { decision.record.id }
    }

    private func commit(_ batch: [Backlog.Part]) async {
        var toCommit: [Undecided] = []
        for item in decide(batch) {
            // An instance that holds a reservation appends even an empty batch: that releases it.
            if item.decision.isEmpty, hosted[item.id]?.holdsReservation != true { adoptUnchanged(item) } else { toCommit.append(item) }
        }
        guard !toCommit.isEmpty else { return }
        for item in toCommit { beginCommit(of: item.id) }
        defer { for item in toCommit { endCommit(of: item.id) } }
        do throws(StoreError) {
            let outcomes = try await store.append(toCommit.map(\.decision.append), by: instance)
            endOutage()
            settle(zip(toCommit, outcomes))
            guard outcomes.contains(.lapsed) else { return lapses = 0 }
            for item in toCommit { endCommit(of: item.id) }
            await takeLeaseAgain(toCommit.map(\.id))
        } catch {
            log.error("a commit failed", metadata: ["error": "\(error)"])
            if error.isOutage {
                for item in toCommit { fail(item, error) }
                beginOutage(ServiceError(error))
            } else {
                for item in toCommit { settle(item, .failed(error)) }
            }
        }
    }

    /// This process was frozen, or the store was. What was decided is decided anew once there is a lease again; what others
    /// have done meanwhile is learned beside that.
    private func takeLeaseAgain(_ queues: [QueueID]) async {
        lapses += 1
        if let heartbeat = await renewLease() {
            Task { await learnOnce(heartbeat) }
            if lapses == 1 { return }
        }
        let pause = Timestamp.Span.milliseconds(min(1_000, 25 << min(lapses, 6)))
        for id in queues { block(id, for: pause) }
    }

    // MARK: Deciding

    private func decide(_ batch: [Backlog.Part]) -> [Undecided] {
        let now = clock.now()
        var events = 0
        var decided: [Undecided] = []
        for part in batch {
            guard events < limits.batch.events else {
                backlog.putBack(part)
                continue
            }
            guard let item = decide(part, at: now) else { continue }
            events += item.decision.events.count
            decided.append(item)
        }
        return decided
    }

    private func decide(_ part: Backlog.Part, at now: Timestamp) -> Undecided? {
        guard let queue = hosted[part.queue] else {
            for command in part.commands { command.fail(.noSuchQueue) }
            return nil
        }
        hosted[part.queue]!.isTicking = false
        let part = limitPart(part)
        var item = Undecided(decision: Decision(queue, now: now), presence: part.presence)
        do throws(ServiceError) { try part.presence.decide(&item.decision, drainedUntil: drainedUntil) } catch {
            log.error("a change of presence was refused", metadata: ["queue": "\(part.queue)", "error": "\(error)"])
        }
        for command in part.commands {
            let (events, receipts) = (item.decision.events.count, item.decision.receipts.count)
            do throws(ServiceError) {
                try command.decide(&item.decision)
                item.entries.append(
                    .init(
                        command: command, events: events..<item.decision.events.count,
                        receipts: receipts..<item.decision.receipts.count))
            } catch {
                command.fail(error)
            }
        }
        item.decision.advance()
        return item
    }

    /// What may be decided of it now, where a part that the store refuses is being looked for. The rest waits.
    private func limitPart(_ part: Backlog.Part) -> Backlog.Part {
        guard let (taken, left) = hosted[part.queue]!.search?.divide(part) else { return part }
        backlog.putBack(left)
        return taken
    }

    // MARK: Settling

    private func settle(_ results: some Sequence<(Undecided, AppendOutcome)>) {
        var messages: [BusMessage] = []
        for (item, outcome) in results {
            if outcome == .committed {
                adopt(item.decision)
                hosted[item.id]?.widenSearch(commands: !item.entries.isEmpty, presence: !item.presence.isEmpty)
                messages.append(item.decision.message)
                succeed(item)
            } else {
                settle(item, outcome)
            }
        }
        if !messages.isEmpty { publish(messages) }
    }

    /// Nothing of it was committed: what lost a race is decided anew, and no neighbour waits for that.
    private func settle(_ item: Undecided, _ outcome: AppendOutcome) {
        switch outcome {
        case .committed: break
        case .lapsed: retry(item)
        case .behind:
            hosted[item.id]?.holdsReservation = true
            retry(item)
            catchUpApart(item.id, since: item.decision.base)
        case .reserved:
            retry(item)
            // The instance that it is kept for may have written meanwhile, and word of that have come before this answer.
            if hosted[item.id]?.state.position == item.decision.base { giveWay(in: item.id) }
        case .userConflict(let index): retry(item, except: { $0.events.contains(index) }, .userHasPlace)
        case .receiptConflict(let index): retry(item, except: { $0.receipts.contains(index) }, .alreadyDone)
        case .slugTaken:
            let configured = Set(item.decision.events.indices.filter { item.decision.events[$0].event.change.isConfigured })
            retry(item, except: { !configured.isDisjoint(with: $0.events) }, .slugTaken)
        case .failed(let error):
            log.error("a commit was refused", metadata: ["queue": "\(item.id)", "error": "\(error)"])
            settleFailure(of: item, error)
        }
    }

    /// The store did not take this queue's part; the other queues go on.
    private func settleFailure(of item: Undecided, _ error: StoreError) {
        switch error {
        case .rejected where item.entries.count + item.presence.count > 1:
            // One command's or one change's own data is at fault: presence is tried apart from commands, and each in halves,
            // until what is at fault stands alone.
            var search = hosted[item.id]?.search ?? RejectionSearch()
            search.narrow(commands: item.entries.count, presence: item.presence.count)
            hosted[item.id]?.search = search
            retry(item)
        case .rejected where item.entries.count == 1: fail(item, error)
        case .rejected where item.presence.count == 1:
            // Repeating it cannot help, and the next change of the same ticket says how it is.
            backlog.putBack(Backlog.Part(queue: item.id, commands: [], presence: item.presence.withoutTickets))
        case .full:
            fail(item, error)
            beginOutage(ServiceError(error))
        default:
            fail(item, error)
            backOff(item.id, ServiceError(error))
        }
    }

    private func retry(
        _ item: Undecided, except isRefused: (Undecided.Entry) -> Bool = { _ in false }, _ error: ServiceError = .noSuchQueue
    ) {
        var commands: [any PendingCommand] = []
        for entry in item.entries {
            if isRefused(entry) { entry.command.fail(error) } else { commands.append(entry.command) }
        }
        backlog.putBack(Backlog.Part(queue: item.id, commands: commands, presence: item.presence))
    }

    /// Callers are told; changes of presence are tried again later.
    private func fail(_ item: Undecided, _ error: StoreError) {
        doubt(item.decision, after: error)
        for entry in item.entries { entry.command.fail(ServiceError(error)) }
        backlog.putBack(Backlog.Part(queue: item.id, commands: [], presence: item.presence))
    }

    private func succeed(_ item: Undecided) {
        let snapshot = hosted[item.id]?.snapshot
        for entry in item.entries { entry.command.succeed(snapshot) }
    }

    /// Nothing happened. What the engine has skipped on the way it need not skip again.
    private func adoptUnchanged(_ item: Undecided) {
        hosted[item.id]?.adoptUnchanged(item.decision)
        succeed(item)
        if item.presence.isTickDue { noteIdleTick(item.id) }
    }

    /// The replica becomes what was committed.
    private func adopt(_ decision: Decision) {
        let id = decision.record.id
        guard let old = hosted[id]?.adopt(decision) else { return }
        for (event, _) in decision.events { measurements.committed(EventKind(event.change)) }
        for lag in old.releaseLags { measurements.releaseLagSeconds.recordNanoseconds(1_000 * lag.microseconds) }
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

extension StoreError {
    /// Whether the error affects all writes, and not only the request that met it.
    var isOutage: Bool {
        switch self {
        case .full, .unavailable, .inDoubt, .corrupt: true
        case .busy, .rejected: false
        }
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
            case .disconnected, .lost, .everyoneDisconnected: .disconnected
            case .admitted: .admitted
            case .completed: .completed
            case .left: .left
            case .expired(_, .grace): .lost
            case .expired(_, .admission): .noShow
            case .expired(_, .removed): .removed
            }
    }
}
