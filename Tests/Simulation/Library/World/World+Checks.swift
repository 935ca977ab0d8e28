import QueueEngine
import QueueService

/// What is checked while the world goes on.
extension World {
    /// What a process says of a queue is what the log says at that place, and it never goes back.
    func check(_ snapshot: QueueSnapshot, after before: QueueSnapshot?, by process: Incarnation) {
        let (id, state) = (snapshot.record.id, snapshot.state)
        if let before, before.record.epoch == snapshot.record.epoch, before.state.head > state.head {
            report(.replica, "a replica went back from \(before.state.head) to \(state.head)")
        }
        guard let known = truth.counts(of: id, at: state.head) else { return }
        let own = Truth.Counts(
            head: state.head, waiting: state.waitingCount, absent: state.absentCount, admitted: state.admitted.count)
        if own != known { report(.replica, "a replica says \(own) and the log \(known)") }
    }

    // MARK: Progress

    /// How late what is due may be: two ticks and the way to the store, and longer just after a fault.
    private var patience: Timestamp.Span {
        let way = 4 * weather.latency.upperBound / 1_000
        return Timestamp.Span(microseconds: 200_000 + Int64(way * 1_000_000) + delayWithoutBus.microseconds)
    }

    /// How much longer it takes without a bus, until who is first in turn knows: two heartbeats, or the turn of the one who
    /// knows.
    private var delayWithoutBus: Timestamp.Span {
        options.hasBus ? .seconds(0) : Timestamp.Span(microseconds: options.lease.microseconds / 5 + 4_000_000)
    }

    /// Looks, once it must have happened, whether what is due has happened.
    func watchProgress(of id: QueueID) {
        guard let due = truth.nextDue(of: id) else { return }
        let moment = max(due.at, scheduler.now) + patience
        if truth.nextLook(at: id).map({ $0 > moment }) ?? true { planLook(at: id, moment) }
    }

    /// In place of a later one: what was due next may not be any more.
    private func planLook(at id: QueueID, _ moment: Timestamp) {
        truth.planLook(at: id, moment)
        scheduler.at(moment) { [weak self] in if self?.truth.nextLook(at: id) == moment { self?.checkProgress(of: id) } }
    }

    private func checkProgress(of id: QueueID) {
        truth.planLook(at: id, nil)
        guard let due = truth.nextDue(of: id), truth.isActive(id) else { return }
        let settled = calmSince.map { $0 + options.recovery } ?? .distantPast
        if calmSince != nil, scheduler.now - patience >= max(due.at, settled) {
            report(.progress, "\(due.what) in queue \(id) was due at \(due.at.seconds) and has not come; \(circumstances(of: id))")
        } else if scheduler.now >= due.at + patience {
            // Something is wrong just now; look again when it may be right.
            planLook(at: id, scheduler.now + .seconds(5))
        } else {
            watchProgress(of: id)
        }
    }

    private func circumstances(of id: QueueID) -> String {
        let wakeAt = database.transaction { state, _ in state.queues[id]?.wakeAt }
        let served = processes.compactMap(\.self).filter { $0.snapshots[id] != nil }.map(\.slot)
        return "served by \(served), woken by the store at \(wakeAt.map { "\($0.seconds)" } ?? "no time")"
    }

    /// No store of these worlds goes back, so none is found to have.
    private func checkHistory() {
        let history = database.transaction { state, _ in state.history }
        if history != 0 { report(.events, "the store was taken for one that was restored") }
    }

    // MARK: Presence

    /// Once all is calm, whoever is connected counts as present, and nobody else does.
    func watchPresence() {
        scheduler.after(.seconds(47)) { [weak self] in
            guard let self else { return }
            self.watchPresence()
            guard let calm = self.calmSince, self.scheduler.now > calm + self.options.recovery else { return }
            self.checkSlug()
            self.checkHistory()
            for queue in self.queues where queue.isDeleted { self.checkDeleted(queue) }
            for queue in self.queues where !queue.isDeleted && self.truth.isLively(queue.id) {
                self.checkPresence(in: queue)
                self.checkLag(of: queue)
                self.truth.looked(at: queue.id, quietSince: self.scheduler.now - .seconds(3_700))
            }
        }
    }

    /// In calm every process that serves a queue knows two heartbeats later what has happened in it.
    var patienceAfterEvents: Timestamp.Span { Timestamp.Span(microseconds: options.lease.microseconds / 5 + 1_000_000) }

    private func checkLag(of queue: SimulatedQueue) {
        guard let line = truth.line(queue.id), line.lastEventAt < scheduler.now - patienceAfterEvents else { return }
        for process in processes.compactMap(\.self) where process.isServing {
            guard let own = process.snapshots[queue.id]?.state.head, own < line.head else { continue }
            report(.replica, "process \(process.slot) is still at \(own) of \(line.head) in queue \(queue.id)")
        }
        for process in processes.compactMap(\.self) where process.isServing && process.snapshots[queue.id]?.staleSince != nil {
            report(.honesty, "process \(process.slot) says that queue \(queue.id) may be old, and nothing is refused")
        }
        checkReplicas(of: queue)
    }

    private func checkPresence(in queue: SimulatedQueue) {
        guard let line = truth.line(queue.id) else { return }
        var held: Set<Ticket> = []
        for visitor in queue.visitors.values where visitor.phase == .waiting {
            guard let ticket = visitor.ticket, let since = line.waiting[ticket] else { continue }
            if visitor.wasSeen(within: .seconds(100)) { held.insert(ticket) }
            // An instance where somebody has polled before says that they are gone, until the one that sees them answers.
            guard let connection = visitor.connection, connection.openedAt < scheduler.now - .seconds(20), let since else { continue }
            if since < scheduler.now - .seconds(5) - delayWithoutBus {
                report(.presence, "ticket \(ticket) is connected and counts as absent in queue \(queue.id)")
            }
        }
        checkLost(queue)
        for (ticket, since) in line.waiting where since == nil && !held.contains(ticket) {
            if line.lastSeen(ticket).map({ $0 < scheduler.now - .seconds(120) }) ?? true {
                report(.presence, "ticket \(ticket) counts as present in queue \(queue.id), and nobody is there")
                break
            }
        }
    }

    /// Nobody counts as held by a process that has gone.
    private func checkLost(_ queue: SimulatedQueue) {
        let gone = gone
        let held = database.transaction { state, _ in
            state.queues[queue.id]?.rows.values.count {
                $0.session.status == .waiting && $0.absentSince == nil && gone.contains($0.instance)
            } ?? 0
        }
        if held > 0 { report(.presence, "\(held) visitors of queue \(queue.id) are still held by processes that have gone") }
    }

    // MARK: Cost

    /// Every minute: calls to the store and jobs follow from what was asked, what happened, and heartbeats.
    func watchCost() {
        let (before, jobs) = (tally, scheduler.jobsRun)
        scheduler.after(.seconds(60)) { [weak self] in
            guard let self else { return }
            let spent = self.tally.storeCalls - before.storeCalls
            let causes =
                self.tally.requests - before.requests + self.tally.events - before.events + self.tally.messages - before.messages
                + 20 * (self.tally.faults - before.faults)
            let beats = Int(600 / self.options.lease.seconds) * self.options.instances
            // During an outage a process asks once a second whether it is over.
            let allowed = 1_000 + 12 * (causes + self.lastCauses) + 4 * (beats + 60 * self.options.instances)
            if spent > allowed {
                self.report(.cost, "\(spent) calls to the store in a minute; \(allowed) are accounted for: \(self.callsSince(before))")
            }
            let ran = self.scheduler.jobsRun - jobs
            if ran > 40 * allowed { self.report(.cost, "\(ran) jobs in a minute; \(40 * allowed) are accounted for") }
            self.lastCauses = causes
            self.watchCost()
        }
    }

    func callsSince(_ before: Tally) -> String {
        StoreCall.allCases.map { ($0, (tally.calls[$0] ?? 0) - (before.calls[$0] ?? 0)) }.filter { $0.1 > 0 }
            .map { "\($0.1) \($0.0)" }.joined(separator: ", ")
    }

    /// The same append that has lost its race.
    struct Race {
        let at: LogPosition
        var count = 1
    }

    /// Whoever has lost a race reads what it has missed before it tries again.
    func lostRace(_ attempt: ModelDatabase.Attempt) {
        let (id, expected, instance) = (attempt.append.record.id, attempt.append.expected, attempt.instance)
        var race = races[instance]?[id] ?? Race(at: expected, count: 0)
        race = Race(at: expected, count: race.at == expected ? race.count + 1 : 1)
        races[instance, default: [:]][id] = race
        // A reading may fail, and a queue that has been deleted is behind until a heartbeat says so.
        if race.count > 20 {
            report(.cost, "a commit to queue \(id) after seq \(expected.seq) was behind \(race.count) times in a row")
        }
    }

    // MARK: In quiet

    /// Every replica equals one that is built anew from the store, in what it estimates, too.
    func checkReplicas() { for queue in queues { checkReplicas(of: queue) } }

    /// Which parts of two states differ, indexes aside.
    private func differences(_ a: QueueState, _ b: QueueState) -> String {
        zip(Mirror(reflecting: a).children, Mirror(reflecting: b).children).filter { "\($0.value)" != "\($1.value)" }
            .map { "\($0.label ?? "") \("\($0.value)".prefix(300)), built anew \("\($1.value)".prefix(300))" }.joined(separator: "; ")
    }

    private func checkReplicas(of queue: SimulatedQueue) {
        let served = processes.compactMap(\.self).filter { $0.isServing && $0.snapshots[queue.id] != nil }
        guard !served.isEmpty, let stored = database.transaction({ state, _ in state.image(of: queue.id) }) else { return }
        let rebuilt = QueueState(stored.image)
        for process in served {
            guard let own = process.snapshots[queue.id], own.state.head == rebuilt.head else { continue }
            // What was long ago a store may have deleted; it counts for nothing any more.
            let isRecent = rebuilt.lastEventAt > scheduler.now - .seconds(3_000)
            if isRecent, own.state != rebuilt {
                report(.replica, "process \(process.slot) differs from the store in queue \(queue.id): \(differences(own.state, rebuilt))")
            }
            if own.record.configuration != stored.record.configuration {
                report(.replica, "process \(process.slot) has other settings than the store in queue \(queue.id)")
            }
            // The same now and later: what they count may fall out of their windows at different times.
            for seconds in [0, 7, 40, 130, 400] {
                let moment = scheduler.now + .seconds(seconds)
                let (says, should) = (own.state.drain(at: moment), rebuilt.drain(at: moment))
                guard says != should else { continue }
                report(.replica, "process \(process.slot) estimates \(says) for queue \(queue.id), and one built anew \(should)")
                break
            }
        }
    }
}

extension Options {
    /// How long after the last fault everything may take to be as if nothing had been: leases end, the first in turn is known
    /// to be gone, and every instance has heard two heartbeats.
    var recovery: Timestamp.Span { Timestamp.Span(microseconds: 2 * lease.microseconds + 90_000_000) }
}
