import Logging
import Metrics
import QueueEngine
import Telemetry

/// What becomes of a batch once the store has answered: each part is adopted, decided anew, or refused.
extension QueueService {
    func settle(_ results: [(DecidedPart, AppendOutcome)]) {
        var messages: [BusMessage] = []
        for (item, outcome) in results {
            if outcome == .committed {
                endStaleness(of: item.id)
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
    func settle(_ item: DecidedPart, _ outcome: AppendOutcome) {
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
            // One line for a queue that stays busy, and not one a second.
            if !error.isBusy || hosted[item.id]?.busyTurns == 0 {
                log.error("a commit was refused", metadata: ["queue": "\(item.id)", "error": "\(error)"])
            }
            settleFailure(of: item, error)
        }
    }

    /// The store did not take this queue's part; the other queues go on.
    private func settleFailure(of item: DecidedPart, _ error: StoreError) {
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
            beginOutage(error)
        default:
            fail(item, error)
            // Damaged rows are no outage: other queues may be written. Where another transaction has locked a row, or no connection
            // was free, to ask again each second costs little.
            backOff(
                item.id, ServiceError(error), isBusy: error.isBusy,
                staleness: error.concernsRows ? QueueService.stalenessOfRows : Outage.forgottenAfter)
            // No outage begins whose end would look for joins in doubt.
            if case .inDoubt = error { Task { await settleDoubts() } }
        }
    }

    private func retry(
        _ item: DecidedPart, except isRefused: (DecidedPart.Entry) -> Bool = { _ in false }, _ error: ServiceError = .noSuchQueue
    ) {
        // The queue was deleted while the commit was under way, and nobody would try it again.
        guard hosted.index(forKey: item.id) != nil else {
            for entry in item.entries { entry.command.fail(.noSuchQueue) }
            return
        }
        var commands: [any PendingCommand] = []
        for entry in item.entries {
            if isRefused(entry) { entry.command.fail(error) } else { commands.append(entry.command) }
        }
        backlog.putBack(Backlog.Part(queue: item.id, commands: commands, presence: item.presence))
    }

    /// Callers are told; changes of presence are tried again later.
    func fail(_ item: DecidedPart, _ error: StoreError) {
        if case .inDoubt = error {
            doubt(item.decision)
            hosted[item.id]?.doubt(item.decision)
        }
        for entry in item.entries { entry.command.fail(ServiceError(error)) }
        backlog.putBack(Backlog.Part(queue: item.id, commands: [], presence: item.presence))
    }

    private func succeed(_ item: DecidedPart) {
        let snapshot = hosted[item.id]?.snapshot
        for entry in item.entries { entry.command.succeed(snapshot) }
    }

    /// Nothing happened. What the engine has skipped on the way it need not skip again.
    func adoptUnchanged(_ item: DecidedPart) {
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
        if decision.events.contains(where: { $0.event.change.isClosing }) { endSessionsOfClosedQueue(id) }
    }
}

extension StoreError {
    /// Whether rows are damaged or locked, while the store itself answers.
    fileprivate var concernsRows: Bool {
        switch self {
        case .corrupt, .busy: true
        case .full, .unavailable, .inDoubt, .rejected: false
        }
    }

    /// Whether the error affects all writes, and not only the request that met it.
    var isOutage: Bool {
        switch self {
        case .full, .unavailable, .inDoubt, .corrupt: true
        case .busy, .rejected: false
        }
    }

    /// Whether only commits are refused: a heartbeat writes to another table, perhaps on another disk, and reads go on.
    var isOfCommits: Bool { if case .full = self { true } else { false } }

    fileprivate var isBusy: Bool { if case .busy = self { true } else { false } }
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
