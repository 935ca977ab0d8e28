import QueueEngine
import QueueService

/// A world's life: days with a storm, a calm with people in it, an evening on which they go, and a quiet night.
extension World {
    /// Lives at most so many days, or as many as the seed says. Ends with the first finding.
    public func live(days: Int? = nil) {
        begin()
        switch options.kind {
        case .storm: for day in 0..<(days ?? options.days) where findings.isEmpty && !isEnded { liveDay(day) }
        case .months: liveMonths(days: days ?? options.days)
        }
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
        if options.kind == .months { configuration.schedule(&dice, now: scheduler.now) }
        if options.isBusy || dice.chance(0.4) { configuration.priorityLanes = QueueConfiguration.lanes([], &dice) }
        while options.isBusy, configuration.priorityLanes.isEmpty { configuration.priorityLanes = QueueConfiguration.lanes([], &dice) }
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
        scheduleIntruder()
        scheduleDeletion()
        if options.readEvery > 0 { for reader in readers { reader.schedule() } }
        if day > 0 || dice.chance(0.7) {
            brew()
            run(for: dice.time(600...5_000))
        }
        calmDown()
        if dice.chance(0.5) { killProcessInCalm() }
        run(for: dice.time(600...3_000))
        evening()
        night()
    }

    func evening() {
        isDraining = true
        for queue in queues { settleSettings(of: queue) }
        let isOver = run(atMost: .seconds(10_000)) { truth.isEmpty && crowd == 0 }
        if !isOver, findings.isEmpty {
            report(.progress, "somebody is still there long after everyone was to go: \(thoseWhoAreThere)")
        }
    }

    private var thoseWhoAreThere: String {
        let line = queues.compactMap { queue in
            truth.line(queue.id).map { "\($0.waiting.count) wait and \($0.admitted.count) are admitted in queue \(queue.id)" }
        }
        let visitors = queues.flatMap { $0.visitors.values }.sorted { $0.number < $1.number }.prefix(10).map(\.description)
        return (line + visitors).joined(separator: "; ")
    }

    /// Nobody is there. After a while only heartbeats remain.
    private func night() {
        run(for: .seconds(Int(options.restAfter.seconds * 3) + 900))
        guard findings.isEmpty else { return }
        checkAnswers()
        checkReplicas()
        checkReaders()
        let quiet = QuietTime(self)
        run(for: .seconds(3_600))
        guard findings.isEmpty else { return }
        quiet.check(self)
        checkGrowth()
        checkRest()
        checkRetention()
        checkReplicas()
    }

    /// Whoever asked a process that lives has an answer.
    private func checkAnswers() {
        for process in processes.compactMap(\.self) {
            guard let since = process.longestUnanswered, since < scheduler.now - .seconds(300) else { continue }
            report(.progress, "process \(process.slot) has not answered since \(since.seconds)")
        }
    }

    /// Readers who go on get everything.
    func checkReaders() {
        for reader in readers {
            let hasAll = run(atMost: .seconds(7_200)) {
                reader.read()
                return reader.knowsOfDeletion || reader.seq == truth.line(reader.queue.id)?.head ?? 0
            }
            if !hasAll, findings.isEmpty { report(.events, "a reader does not get beyond \(reader.seq)") }
        }
        run(for: .seconds(Int(options.restAfter.seconds * 3) + 120))
    }

    // MARK: Growth

    /// Every night nobody is there, so a process holds what it held on the first night, but for caches with a bound.
    func checkGrowth() {
        for process in processes.compactMap(\.self) where process.isServing {
            if process.clock.pending > 32 { report(.growth, "\(process.clock.pending) wake-ups are asked for at night") }
            for (path, count) in sizes.of(process.service).sorted(by: { $0.key < $1.key }) where !path.hasPrefix("memory") {
                let bound = 64 + 4 * queues.count
                if count > bound { report(.growth, "\(path) holds \(count) at night, when nobody is there") }
            }
        }
    }
}
