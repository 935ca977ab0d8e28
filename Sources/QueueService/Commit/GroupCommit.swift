import Locks
import Logging
import QueueEngine
import Telemetry

/// Group commit: what waits together is decided and committed together, in batches of bounded size.
extension QueueService {
    /// Runs `body` against the queue and returns once its events are committed.
    ///
    /// The caller waits where it is; a thousand callers that arrive together wake the service once.
    ///
    /// `body` may run more than once, and must change nothing where it throws.
    ///
    /// - Parameter epoch: of the history that `body` is about: in another one somebody else may have the ticket. nil: of any.
    @discardableResult
    func perform<R: Sendable>(
        on queue: QueueID, in epoch: UInt64? = nil, isolation: isolated (any Actor)? = #isolation,
        _ body: @escaping @Sendable (inout Decision) throws(ServiceError) -> R
    ) async throws(ServiceError) -> AwaitedCommand<R>.Committed {
        let traced = slow?.begin("queue.commit")
        defer { traced?.end() }
        do throws(ServiceError) {
            let committed = try await withCheckedContinuation { continuation in
                arrive(AwaitedCommand(queue, epoch, continuation, body))
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
        guard life == .serving else { return .unavailable(retryAfterSeconds: 1) }
        guard hosted.index(forKey: queue) != nil else { return .noSuchQueue }
        // Callers are answered at once during an outage, not after a time limit.
        if let outage, !outage.mayTry { return outage.error }
        return hosted[queue]?.isBackingOff == true ? .unavailable(retryAfterSeconds: 1) : nil
    }

    /// Leaves a change of presence for the next batch. Nobody waits for it, and an outage does not lose it.
    func changePresence(of queue: QueueID, _ change: (inout PresenceChanges) -> Void) {
        guard hosted.index(forKey: queue) != nil else { return }
        backlog.changePresence(of: queue, change)
        beginCommitting()
    }

    func beginCommitting() {
        // During an outage changes of presence wait for its end, or for a try.
        guard !isCommitting, outage?.mayTry ?? true, life != .ended, backlog.hasWork else { return }
        isCommitting = true
        // It goes on for others, too: it is no part of what was asked by whoever came first.
        _ = Operation.apart { Task(executorPreference: executor.tasks) { await self.commitAll() } }
    }

    /// Commits batch after batch until nothing waits. While the store has one the next one gathers.
    private func commitAll() async {
        while outage?.mayTry ?? true {
            let batch = backlog.take(limits.batch)
            guard !batch.isEmpty else { break }
            await commit(batch)
            scheduleWake(for: batch.map(\.queue))
        }
        if let outage { for command in backlog.takeCommands() { command.fail(outage.error) } }
        isCommitting = false
        resumeIdleWaiters()
    }

    private func commit(_ batch: [Backlog.Part]) async {
        var toCommit: [DecidedPart] = []
        for item in decide(batch) {
            // An instance that holds a reservation appends even an empty batch: that releases it.
            if item.decision.isEmpty, hosted[item.id]?.holdsReservation != true { adoptUnchanged(item) } else { toCommit.append(item) }
        }
        guard !toCommit.isEmpty else { return }
        outage?.mayTry = false
        for item in toCommit { beginCommit(of: item.id) }
        defer { for item in toCommit { endCommit(of: item.id) } }
        do throws(StoreError) {
            let outcomes = try await store.append(toCommit.map(\.decision.append), by: instance)
            if outcomes.contains(.committed) { endOutage() }
            settle(Array(zip(toCommit, outcomes)))
            guard outcomes.contains(.lapsed) else { return lapses = 0 }
            for item in toCommit { endCommit(of: item.id) }
            await takeLeaseAgain(toCommit.map(\.id))
        } catch {
            log.error("a commit failed", metadata: ["error": "\(error)"])
            switch error {
            case .full, .unavailable, .inDoubt:
                for item in toCommit { fail(item, error) }
                beginOutage(error)
            case .busy:
                // No connection was free, which says nothing of these queues' rows.
                for item in toCommit {
                    fail(item, error)
                    backOff(item.id, ServiceError(error), isBusy: true)
                }
            case .corrupt, .rejected: for item in toCommit { settle(item, .failed(error)) }
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

    private func decide(_ batch: [Backlog.Part]) -> [DecidedPart] {
        let now = clock.now()
        var events = 0
        var decided: [DecidedPart] = []
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

    private func decide(_ part: Backlog.Part, at now: Timestamp) -> DecidedPart? {
        guard let queue = hosted[part.queue] else {
            for command in part.commands { command.fail(.noSuchQueue) }
            return nil
        }
        hosted[part.queue]!.isTicking = false
        let part = limitPart(part)
        var item = DecidedPart(decision: Decision(queue, now: now), presence: part.presence)
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
        // A queue that could not be made has no time of its own: what its settings bring would make it after all.
        if item.decision.state.head > 0 { item.decision.advance() }
        return item
    }

    /// What may be decided of it now, where a part that the store refuses is being looked for. The rest waits.
    private func limitPart(_ part: Backlog.Part) -> Backlog.Part {
        guard let (taken, left) = hosted[part.queue]!.search?.divide(part) else { return part }
        backlog.putBack(left)
        return taken
    }
}

/// One queue's part of a batch as it was decided, with what each command added, so that a conflict concerns only its author.
struct DecidedPart {
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
