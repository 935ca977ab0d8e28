import QueueEngine
import QueueService

/// A world's life where it has months: ordinary days, on which few queues have a few busy hours, and quiet nights.
extension World {
    func liveMonths(days: Int) {
        readers = Array(readers.prefix(8))
        let start = scheduler.now
        var before: MonthEnd?
        for day in 1...days where findings.isEmpty && !isEnded {
            liveOrdinaryDay(until: start + .seconds(86_400 * day))
            guard findings.isEmpty, !isEnded, day.isMultiple(of: Options.daysOfMonth) else { continue }
            let end = MonthEnd(self)
            for text in end.growth(since: before ?? end) { report(.growth, text) }
            before = before ?? end
        }
    }

    private func liveOrdinaryDay(until midnight: Timestamp) {
        isDraining = false
        for _ in 0..<dice.int(0...options.busyTimes) {
            let (queue, length) = (dice.pick(queues), dice.time(600...7_200))
            scheduler.after(dice.time(0...36_000)) { [weak self] in self?.beginBusyTime(of: queue, length) }
        }
        if options.readEvery > 0 { for reader in readers { reader.schedule() } }
        if dice.chance(options.stormyDays) {
            let (wait, length) = (dice.time(0...30_000), dice.time(600...3_600))
            scheduler.after(wait) { [weak self] in self?.brew() }
            scheduler.at(scheduler.now + wait + length) { [weak self] in self?.calmDown() }
        } else if dice.chance(options.deployments) {
            scheduler.after(dice.time(0...36_000)) { [weak self] in self?.deploy(0) }
        }
        run(for: .seconds(43_200))
        calmDown()
        run(for: options.recovery)
        evening()
        night(until: midnight)
    }

    /// An operator prepares the queue, and people come for a while.
    private func beginBusyTime(of queue: SimulatedQueue, _ length: Timestamp.Span) {
        guard !isDraining, let process = pickProcess() else { return }
        let end = scheduler.now + length
        let (seed, status) = (dice.next(), truth.line(queue.id)?.status)
        process.ask { [self] service in
            var dice = Dice(seed: seed)
            do throws(ServiceError) {
                try await service.visit(queue.id)
                if dice.chance(0.5) { try await configure(queue, service, dice.next(), scheduler.now) }
                if status == .paused { _ = try await service.perform(.resume, on: queue.id, tenant: queue.tenant) }
                if status == .closed { _ = try await service.perform(.open, on: queue.id, tenant: queue.tenant) }
            } catch {
                judge(error)
            }
        }
        scheduleArrival(in: queue, until: end)
        scheduleSale(in: queue, until: end)
        scheduleOperator(of: queue, until: end)
    }

    /// One process after the other is replaced.
    private func deploy(_ slot: Int) {
        guard slot < processes.count, !isDraining else { return calmDown() }
        calmSince = nil
        if let process = processes[slot], process.isServing {
            tally.faults += 1
            restart(process, after: dice.time(0.5...20))
        }
        scheduler.after(dice.time(30...120)) { [weak self] in self?.deploy(slot + 1) }
    }

    /// Nobody is there until the morning, and only heartbeats remain.
    private func night(until midnight: Timestamp) {
        run(for: .seconds(Int(options.restAfter.seconds * 3) + 900))
        guard findings.isEmpty, !isEnded else { return }
        checkReplicas()
        checkReaders()
        let quiet = QuietTime(self)
        run(for: max(.seconds(3_600), midnight - scheduler.now))
        guard findings.isEmpty, !isEnded else { return }
        quiet.check(self)
        checkGrowth()
        checkRest()
        checkRetention()
    }

    /// In quiet a process serves no queue but those to which time brings something soon, or has brought something just now.
    func checkRest() {
        let lately = scheduler.now - options.restAfter - .seconds(180)
        let horizon = scheduler.now + options.restAfter + .seconds(Int(options.lease.seconds / 5) + 180)
        for process in processes.compactMap(\.self) where process.isServing {
            for id in process.snapshots.keys.sorted() where truth.nextDue(of: id).map({ $0.at > horizon }) ?? true {
                if let last = truth.line(id)?.lastEventAt, last > lately { continue }
                return report(.cost, "process \(process.slot) serves queue \(id), in which nobody is, all night")
            }
        }
    }

    /// Nothing is kept for longer than it is to be, and an hour.
    func checkRetention() {
        let moment = scheduler.now - .seconds(3_600)
        let closing = database.transaction { state, _ in state.queues.values.reduce(0) { $0 + $1.closing.count } }
        if closing > 0 { report(.growth, "the ends of \(closing) sessions in closed queues are not written in the morning") }
        let ages = database.transaction { state, _ in state.ages }
        let limits: [(name: String, oldest: Timestamp?, age: Timestamp.Span?)] = [
            ("session", ages.session, options.retention.sessions.map { max($0, options.retention.receipts ?? $0) }),
            ("lease", ages.lease, .seconds(0)),
            ("receipt", ages.receipt, options.retention.receipts),
            ("announcement", ages.announcement, options.retention.announcements),
            ("entry of a log", ages.entry, options.retention.log.map { .seconds(3_600 + Int($0.seconds)) }),
        ]
        for (name, oldest, age) in limits {
            guard let oldest, let age, oldest < moment - age else { continue }
            report(.growth, "the oldest \(name) is of \(oldest.seconds), and is kept for \(age.seconds) s")
        }
    }
}
