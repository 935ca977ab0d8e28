import Logging
import QueueEngine
import Telemetry

/// The replicas: how what others have committed comes to be known here.
extension QueueService {
    func receive(_ messages: [BusMessage]) async {
        for message in messages {
            await receive(message)
            goOn(in: message.queue)
        }
        scheduleWake(for: Set(messages.map(\.queue)))
    }

    private func receive(_ message: BusMessage) async {
        guard let queue = hosted[message.queue] else { return await wake(for: message) }
        guard queue.snapshot != nil, queue.record.epoch == message.epoch else { return }
        guard message.head > queue.state.head else { return }
        guard !queue.isCommitting else { return hosted[message.queue]!.deferUntilCommitted(message) }
        if message.isDeletion { return await unhostIfDeleted(message.queue) }
        if let new = message.events(after: queue.state.position), apply(new, to: message.queue) { return }
        await catchUp(message.queue)
    }

    /// The queue may have been deleted: the store knows.
    func unhostIfDeleted(_ id: QueueID) async {
        // What ended its sessions is told first.
        await catchUp(id)
        do throws(StoreError) { if try await store.loadServedQueue(id) == nil { unhost(id) } } catch {
            log.warning("a queue could not be read", metadata: ["queue": "\(id)", "error": "\(error)"])
        }
    }

    /// Something has happened in a queue that is at rest here. What cannot be read now the next heartbeat finds.
    private func wake(for message: BusMessage) async {
        guard outage == nil else { return }
        if let reading = loads[message.queue] ?? lookUps[message.queue] { return receive(message, after: reading) }
        if message.events.isEmpty, !message.isDeletion { return lookWhoWakes() }
        guard message.events.contains(where: { if case .joined = $0.change { true } else { false } }) else { return }
        try? await loadServed(message.queue)
        // The queue may have been read before the message's events were committed.
        if hosted[message.queue] != nil { await receive(message) }
    }

    /// Takes the message once the queue is read, which may have happened before its events were committed; messages of other queues
    /// do not wait for that. Of a queue the newest is kept: what came before it is in the log.
    private func receive(_ message: BusMessage, after reading: LookUp) {
        let id = message.queue
        if let kept = messagesAwaitingReads[id] {
            if message.epoch != kept.epoch || message.head > kept.head { messagesAwaitingReads[id] = message }
            return
        }
        messagesAwaitingReads[id] = message
        Task {
            _ = await reading.value
            if let newest = messagesAwaitingReads.removeValue(forKey: id) { await receive([newest]) }
        }
    }

    /// Queues that are at rest here were changed elsewhere. One of them may have a deadline before the next heartbeat, and this
    /// instance be the first in turn: looks soon, once for all that are changed meanwhile.
    private func lookWhoWakes() {
        guard !isLookPlanned else { return }
        isLookPlanned = true
        wake(at: clock.now() + .milliseconds(50)) {
            $0.isLookPlanned = false
            try? await $0.wakeQueues()
        }
    }

    /// The log here is not the one of the store: it was restored from an older copy. All queues get a new epoch, so that whoever
    /// has followed the old one is told, and the replica is built anew. Nobody is held any more: all must show who they are.
    ///
    /// - Parameters:
    ///   - epoch: the history that is contradicted. Reports about an epoch that was already replaced are ignored.
    ///   - hasBegun: the store tells another history already.
    /// - Returns: whether the replica is one of the new history.
    @discardableResult
    func rebuild(_ id: QueueID, insteadOf epoch: UInt64, hasBegun: Bool = false) async -> Bool {
        guard let queue = hosted[id], queue.record.epoch == epoch else { return true }
        guard !queue.isRebuilding else {
            await wait(for: id) { $0.isRebuilding }
            return hosted[id]?.record.epoch != epoch
        }
        // Of all queues the heartbeat tells in one line.
        if !hasBegun { log.warning("the store tells another history of a queue", metadata: ["queue": "\(id)"]) }
        if unreadable.isPaused(id, at: clock.now()) { return false }
        hosted[id]!.isRebuilding = true
        defer {
            hosted[id]?.isRebuilding = false
            tellChange(of: id)
            goOn(in: id)
        }
        do throws(StoreError) { return try await reload(id, insteadOf: queue.record, hasBegun: hasBegun) } catch {
            noteUnreadable(id, error)
            return false
        }
    }

    private func reload(_ id: QueueID, insteadOf old: QueueRecord, hasBegun: Bool) async throws(StoreError) -> Bool {
        if !hasBegun {
            try await catchUpGate.pass { () throws(StoreError) in try await store.beginHistory(insteadOf: old.epoch, of: id) }
        }
        // Not within the gate: what is waited for may have to pass it.
        await wait(for: id) { $0.isCatchingUp }
        let loaded = try await catchUpGate.pass { () throws(StoreError) -> (StoredQueue, [Announcement])? in
            guard hosted[id]?.record.epoch == old.epoch else { return nil }
            // Commits that go on all the time would leave no moment for it. Only now: of many queues those that wait go on.
            backlog.block(id)
            await wait(for: id) { $0.isCommitting }
            guard let stored = try await store.loadServedQueue(id) else { return nil }
            guard stored.image.isConsistent else { throw .contradiction }
            return (stored, try await latestAnnouncements(of: stored))
        }
        guard let (stored, announcements) = loaded else {
            if hosted[id]?.record.epoch == old.epoch { unhost(id) } else { backlog.unblock(id) }
            return true
        }
        guard hosted[id]?.isCommitting == false, stored.record.epoch != hosted[id]?.record.epoch else { return false }
        hosted[id]?.restart(from: stored, announcements, at: clock.now())
        backlog.forgetTickets(in: id)
        unreadable.remove(id)
        rename(old, to: stored.record)
        notify(id, events: [], announcements: announcements.reversed())
        markEveryoneAbsent(in: id)
        return true
    }

    // MARK: Events of others

    private func apply(_ events: ArraySlice<QueueEvent>, to id: QueueID) -> Bool { apply(events.map { LogEntry(event: $0) }, to: id) }

    /// - Returns: false where one of the entries cannot follow those before it. Then neither it nor what comes after it is applied.
    private func apply(_ entries: some Collection<LogEntry>, to id: QueueID) -> Bool {
        guard var queue = hosted[id] else { return true }
        // Not more than one owner while it changes, or all of it would be copied.
        hosted[id] = nil
        var moves = HostedQueue.Moves()
        var count = 0
        for entry in entries {
            guard queue.state.accepts(entry.event) else { break }
            queue.apply(entry.event, &moves)
            count += 1
        }
        let applied = entries.prefix(count)
        let announcements = applied.compactMap(\.announcement)
        queue.announcements.prepend(announcements)
        hosted[id] = queue
        if !moves.away.isEmpty { backlog.forgetHolders(of: moves.away.map(\.ticket), in: id) }
        notify(id, events: applied.map(\.event), announcements: announcements, movedAway: moves.away)
        endStaleness(of: id, seeing: queue.state.lastEventAt)
        if !moves.contradicted.isEmpty { stillHere(id, moves.contradicted) }
        return count == entries.count
    }

    /// Somebody was marked absent who is connected here.
    private func stillHere(_ id: QueueID, _ tickets: [Ticket]) { changePresence(of: id) { $0.contradict(tickets) } }

    /// Reads what the replica has missed from the store.
    ///
    /// Of any number who ask meanwhile one reads for all, once the reading that is under way has ended. A commit that begins
    /// after the call and is adopted does as well: the log ended where it began.
    ///
    /// - Returns: whether what was committed before the call is known here now; false where the log could not be read.
    @discardableResult
    func catchUp(_ id: QueueID) async -> Bool {
        guard let demand = hosted[id].map(CatchUpDemand.init) else { return true }
        // Not asked again by each caller: the heartbeat finds out when the store is back.
        if let outage, !outage.allowsReading { return false }
        // A log of which no line can be made is read again after a pause, whoever asks.
        if unreadable.isPaused(id, at: clock.now()) { return false }
        while let queue = hosted[id], !demand.isMet(by: queue) {
            // Checked anew after each wait: before this call goes on another one may have begun to read, or a commit.
            if queue.isCatchingUp || queue.isCommitting {
                await wait(for: id) { ($0.isCatchingUp || $0.isCommitting) && !demand.isMet(by: $0) }
                continue
            }
            // Whoever has read for all could not.
            if queue.catchUps >= demand.reading { return false }
            hosted[id]!.isCatchingUp = true
            hosted[id]!.catchUps += 1
            return await readForAll(id)
        }
        return true
    }

    private func readForAll(_ id: QueueID) async -> Bool {
        let end = await catchUpGate.pass { await readOn(id) }
        if end == .reached, let reading = hosted[id]?.catchUps {
            hosted[id]?.caughtUp = reading
            unreadable.remove(id)
        }
        hosted[id]?.isCatchingUp = false
        tellChange(of: id)
        if case .otherHistory(let epoch) = end { return await rebuild(id, insteadOf: epoch) }
        return end == .reached
    }

    private enum ReadingEnd: Hashable {
        case reached, failed
        /// The store's log does not have the replica's last event.
        case otherHistory(epoch: UInt64)
    }

    private func readOn(_ id: QueueID) async -> ReadingEnd {
        guard let queue = hosted[id] else { return .reached }
        let demand = CatchUpDemand(queue)
        do throws(StoreError) {
            while true {
                if let end = try await readPage(id, demand, epoch: queue.record.epoch) { return end }
            }
        } catch {
            noteUnreadable(id, error)
            return .failed
        }
    }

    /// Applies what comes after the replica's last event; nil where there may be more.
    private func readPage(_ id: QueueID, _ demand: CatchUpDemand, epoch: UInt64) async throws(StoreError) -> ReadingEnd? {
        guard let known = hosted[id]?.state.position else { return .reached }
        // With the last one that is known: it says that the log is still the same.
        let entries = try await store.missedEntries(of: id, after: max(known.seq, 1) - 1, limit: QueueService.missedAtOnce)
        // What is being committed from here may be among them, and is not somebody else's.
        await wait(for: id) { $0.isCommitting && !demand.isMet(by: $0) }
        guard let queue = hosted[id], !demand.isMet(by: queue) else { return .reached }
        guard queue.state.position == known, !queue.isCommitting else { return nil }
        guard known.seq == 0 || entries.first?.event.position == known else {
            if entries.first?.event.seq == known.seq { return .otherHistory(epoch: epoch) }
            return try await skipPruned(id, behind: known, epoch: epoch)
        }
        let new = entries.drop { $0.event.seq <= known.seq }
        if new.isEmpty { return .reached }
        if new.contains(where: { $0.event.change.isConfigured }), let stored = try await store.loadServedQueue(id) {
            guard hosted[id]?.isCommitting == false, hosted[id]?.state.position == known else { return nil }
            guard stored.record.epoch == queue.record.epoch else { return .otherHistory(epoch: epoch) }
            rename(queue.record, to: stored.record)
        }
        guard apply(new, to: id) else { throw .corrupt("an event that cannot follow those before it") }
        // A page that is not full ends where the log did, which was after the call.
        return entries.count < QueueService.missedAtOnce ? .reached : nil
    }

    /// The log lacks the replica's last event. Where the store goes further in the same history this instance has stood still for
    /// longer than entries are kept, and the replica becomes what the rows say; nil: it has. Whom it sees it goes on seeing.
    private func skipPruned(_ id: QueueID, behind known: LogPosition, epoch: UInt64) async throws(StoreError) -> ReadingEnd? {
        guard let stored = try await store.loadServedQueue(id) else { return .reached }
        guard stored.image.isConsistent else { throw .contradiction }
        let announcements = try await latestAnnouncements(of: stored)
        guard let queue = hosted[id], queue.state.position == known, !queue.isCommitting, queue.record.epoch == epoch else { return nil }
        let state = QueueState(stored.image)
        guard stored.record.epoch == epoch, state.position.mayFollow(known) else { return .otherHistory(epoch: epoch) }
        if state.position == known { return .reached }
        log.warning(
            "the log was pruned behind what is known here; the queue is read anew",
            metadata: ["queue": "\(id)", "known": "\(known.seq)", "head": "\(state.head)"])
        hosted[id]!.skip(to: stored.record, state, announcements)
        rename(queue.record, to: stored.record)
        notify(id, events: [], announcements: announcements.filter { $0.seq > known.seq }.reversed())
        let seen = hosted[id]!.presence.tickets.filter { state.isAbsent($0) }
        if !seen.isEmpty { stillHere(id, seen) }
        return nil
    }

    /// Entries that a replica reads at once.
    private static let missedAtOnce = 1_000

    // MARK: One thing at a time

    /// Returns once no commit of the queue is under way that had begun before the call.
    func waitForCommit(of id: QueueID) async { await wait(for: id) { $0.isCommitting } }

    /// Returns after the queue's replica has stopped being busy, or is gone. By then it may be busy again.
    private func wait(for id: QueueID, isBusy: (HostedQueue) -> Bool) async {
        while let queue = hosted[id], isBusy(queue) {
            await withCheckedContinuation { waiter in
                // Asked once more: on the way here others may have had a turn.
                guard let queue = hosted[id], isBusy(queue) else { return waiter.resume() }
                hosted[id]!.waiting.append(waiter)
            }
        }
    }

    private func tellChange(of id: QueueID) {
        guard let waiting = hosted[id]?.waiting, !waiting.isEmpty else { return }
        hosted[id]?.waiting = []
        for one in waiting { one.resume() }
    }

    /// A commit is under way: nobody else's events are applied before its answer.
    func beginCommit(of id: QueueID) { hosted[id]?.beginCommit() }

    /// Its answer is here, and has been taken account of.
    func endCommit(of id: QueueID) {
        guard hosted[id]?.isCommitting == true else { return }
        let deferred = hosted[id]!.takeDeferredMessages()
        hosted[id]!.endCommit()
        tellChange(of: id)
        if !deferred.isEmpty { Task { await receive(deferred) } }
    }
}

/// What is asked of a replica: to know what was committed before a moment.
private struct CatchUpDemand {
    /// The first reading that begins after that moment, and the first commit.
    let reading: Int
    private let commit: Int

    init(_ queue: HostedQueue) { (reading, commit) = (queue.catchUps + 1, queue.commits + 1) }

    func isMet(by queue: HostedQueue) -> Bool { queue.caughtUp >= reading || queue.adoptedCommit >= commit }
}
