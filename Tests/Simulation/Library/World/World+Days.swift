import QueueEngine
import QueueService

/// A world's life: days with a storm, a calm with people in it, an evening on which they go, and a quiet night.
extension World {
    /// Lives at most so many days. Ends with the first finding.
    public func live(days: Int) {
        begin()
        for day in 0..<days where findings.isEmpty && !isEnded { liveDay(day) }
        tally.queueHours += hours(since: Timestamp(seconds: 1_700_000_000)) * Double(queues.count)
    }

    private func hours(since moment: Timestamp) -> Double { (scheduler.now - moment).seconds / 3_600 }

    private func begin() {
        watchCost()
        for slot in processes.indices { startProcess(slot) }
        _ = run(atMost: .seconds(60)) { pickProcess() != nil }
        for number in 0..<options.queues + options.restingQueues { makeQueue(number) }
        _ = run(atMost: .seconds(60)) { queues.count == options.queues + options.restingQueues }
        if queues.count != options.queues + options.restingQueues { report(.progress, "the queues could not be made") }
        queues.sort { $0.id < $1.id }
        if options.readEvery > 0 { readers = queues.prefix(options.queues).map { Reader($0, in: self) } }
        watchPresence()
    }

    private func makeQueue(_ number: Int) {
        guard let process = pickProcess() else { return report(.progress, "no process began to serve") }
        let tenant = dice.pick(tenants)
        var configuration = QueueConfiguration.random(&dice, isBusy: options.isBusy, now: scheduler.now)
        if options.isBusy || dice.chance(0.4) { configuration.priorityLanes = QueueConfiguration.lanes([], &dice) }
        let wanted = configuration
        process.ask { [self] service in
            do throws(ServiceError) {
                let made = try await service.create(tenant: tenant) { record in
                    record.slug = "queue-\(number)"
                    record.configuration = wanted
                }
                queues.append(SimulatedQueue(made.record))
            } catch {
                // Times that contradict each other.
                if case .refused = error { return makeQueue(number) }
                report(.state, "a queue could not be made: \(error)")
            }
        }
    }

    private func liveDay(_ day: Int) {
        isDraining = false
        for queue in queues.prefix(options.queues) {
            scheduleArrival(in: queue)
            scheduleSale(in: queue)
            scheduleOperator(of: queue)
        }
        if options.readEvery > 0 { for reader in readers { reader.schedule() } }
        if day > 0 || dice.chance(0.7) {
            brew()
            run(for: dice.time(600...5_000))
        }
        calmDown()
        run(for: dice.time(600...3_000))
        evening()
        night(day)
    }

    private func evening() {
        isDraining = true
        for queue in queues { settleSettings(of: queue) }
        let isOver = run(atMost: .seconds(10_000)) { truth.isEmpty && crowd == 0 }
        if !isOver, findings.isEmpty {
            report(.progress, "somebody is still there long after everyone was to go; \(crowd) visitors wait for an answer")
        }
    }

    /// Nobody is there. After a while only heartbeats remain.
    private func night(_ day: Int) {
        run(for: .seconds(Int(options.restAfter.seconds * 3) + 900))
        guard findings.isEmpty else { return }
        checkReplicas()
        checkReaders()
        let before = tally
        let jobs = scheduler.jobsRun
        let wakes = wakes
        run(for: .seconds(3_600))
        guard findings.isEmpty else { return }
        checkQuiet(before, jobs, wakes)
        checkGrowth(day)
        checkReplicas()
    }

    private var wakes: Int { processes.compactMap(\.self).reduce(0) { $0 + $1.clock.wakes } }

    /// Readers who go on get everything.
    private func checkReaders() {
        for reader in readers where !reader.queue.isDeleted {
            let hasAll = run(atMost: .seconds(7_200)) {
                reader.read()
                return reader.seq == truth.line(reader.queue.id)?.head ?? 0
            }
            if !hasAll, findings.isEmpty { report(.events, "a reader does not get beyond \(reader.seq)") }
        }
        run(for: .seconds(Int(options.restAfter.seconds * 3) + 120))
    }

    // MARK: Cost

    /// In a quiet hour each process sends its heartbeats, each with a look for queues that wake, and one of them deletes what
    /// has expired, once a minute and as long as there is more; nothing else happens.
    private func checkQuiet(_ before: Tally, _ jobs: Int, _ wakes: Int) {
        let beats = Double(options.instances) * 3_600 / (options.lease.seconds / 10)
        let deletions = Double((tally.calls[.retention] ?? 0) - (before.calls[.retention] ?? 0))
        let rows = 7.0 * 61 + 200 * Double(queues.count)
        if deletions > rows { report(.cost, "\(Int(deletions)) deletions in a quiet hour") }
        let calls = Double(tally.storeCalls - before.storeCalls) - deletions
        if tally.events != before.events { report(.cost, "\(tally.events - before.events) events in a quiet hour") }
        if calls > 2.02 * beats + 10 {
            report(.cost, "\(Int(calls)) calls to the store in a quiet hour; \(Int(beats)) heartbeats: \(callsSince(before))")
        }
        let woken = Double(self.wakes - wakes)
        if woken > 1.02 * beats + Double(60 * options.instances) + deletions + 10 {
            report(.cost, "\(Int(woken)) wake-ups in a quiet hour; \(Int(beats)) heartbeats")
        }
        let ran = Double(scheduler.jobsRun - jobs)
        if ran > 40 * (beats + deletions + Double(60 * options.instances)) + 200 {
            report(.cost, "\(Int(ran)) jobs in a quiet hour; \(Int(beats)) heartbeats")
        }
    }

    // MARK: Growth

    /// Every night nobody is there, so a process holds what it held on the first night, but for caches with a bound.
    private func checkGrowth(_ day: Int) {
        for process in processes.compactMap(\.self) where process.isServing {
            for (path, count) in sizes.of(process.service).sorted(by: { $0.key < $1.key }) where !path.hasPrefix("memory") {
                let bound = 64 + 4 * queues.count
                if count > bound { report(.growth, "\(path) holds \(count) at night, when nobody is there") }
            }
        }
    }
}
