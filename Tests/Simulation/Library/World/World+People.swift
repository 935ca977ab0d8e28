import QueueEngine
import QueueService

/// Who comes, who operates the queues, and who reads their events.
extension World {
    // MARK: Visitors

    /// People come to the queue from now on.
    ///
    /// - Parameter end: when nobody comes any more; nil: in the evening.
    func scheduleArrival(in queue: SimulatedQueue, until end: Timestamp? = nil) {
        // Crowds come in waves.
        scheduler.after(dice.time(mean: options.arrivalEvery)) { [weak self] in
            guard let self, self.goesOn(queue, until: end) else { return }
            for _ in 0..<self.groupSize { self.arrive(in: queue) }
            self.scheduleArrival(in: queue, until: end)
        }
    }

    /// Most come alone, some in groups.
    private var groupSize: Int { dice.chance(0.03) ? dice.int(2...30) : 1 }

    /// Now and then a sale begins.
    func scheduleSale(in queue: SimulatedQueue, until end: Timestamp? = nil) {
        guard options.saleEvery > 0 else { return }
        scheduler.after(dice.time(mean: options.saleEvery)) { [weak self] in
            guard let self, self.goesOn(queue, until: end) else { return }
            for _ in 0..<self.dice.int(50...600) {
                self.scheduler.after(self.dice.time(0...20)) { if !self.isDraining { self.arrive(in: queue) } }
            }
            if self.options.operateEvery > 0, self.dice.chance(0.5) {
                self.scheduler.after(self.dice.time(10...60)) { self.toggleLaneSharing(of: queue) }
            }
            self.scheduleSale(in: queue, until: end)
        }
    }

    private func goesOn(_ queue: SimulatedQueue, until end: Timestamp?) -> Bool {
        !isDraining && !queue.isDeleted && end.map { scheduler.now < $0 } ?? true
    }

    private func arrive(in queue: SimulatedQueue) {
        guard crowd < options.crowdLimit else { return }
        visitorsMade += 1
        crowd += 1
        let visitor = SimulatedVisitor(visitorsMade, in: queue, of: self)
        queue.visitors[visitor.number] = visitor
        visitor.join()
    }

    // MARK: Operators

    func scheduleOperator(of queue: SimulatedQueue, until end: Timestamp? = nil) {
        guard options.operateEvery > 0 else { return }
        scheduler.after(dice.time(mean: options.operateEvery)) { [weak self] in
            guard let self, self.goesOn(queue, until: end) else { return }
            self.operate(queue)
            self.scheduleOperator(of: queue, until: end)
        }
    }

    private func operate(_ queue: SimulatedQueue) {
        guard let process = pickProcess() else { return }
        let (id, tenant, now) = (queue.id, queue.tenant, scheduler.now)
        let choice = dice.int(0...99)
        let seed = dice.next()
        process.ask { [self] service in
            do throws(ServiceError) {
                try await service.visit(id)
                switch choice {
                case 0..<32: try await configure(queue, service, seed, now)
                case 32..<39: try await configureWithCondition(queue, service, seed)
                case 39..<45: try await rename(queue, service, seed)
                case 45..<55: _ = try await service.perform(.pause, on: id, tenant: tenant)
                case 55..<70: _ = try await service.perform(.resume, on: id, tenant: tenant)
                case 70..<74: _ = try await service.perform(.close, on: id, tenant: tenant)
                case 74..<88: _ = try await service.perform(.open, on: id, tenant: tenant)
                default: try await announce(in: queue, service, isRepeated: choice.isMultiple(of: 3), seed, now)
                }
            } catch {
                judge(error)
            }
        }
    }

    func configure(_ queue: SimulatedQueue, _ service: QueueService, _ seed: UInt64, _ now: Timestamp) async throws(ServiceError) {
        let isBusy = options.isBusy
        let updated = try await service.update(queue.id, tenant: queue.tenant) { record in
            var dice = Dice(seed: seed)
            let before = record.configuration.priorityLanes
            let lanes = dice.chance(0.3) ? QueueConfiguration.lanes(before, &dice) : before
            record.configuration = .random(&dice, lanes: lanes, isBusy: isBusy, now: now)
        }
        queue.lanes = updated.record.configuration.priorityLanes.map(\.name)
    }

    /// With a key, so that it can be repeated: the same announcement is the answer, or word that it is gone.
    private func announce(
        in queue: SimulatedQueue, _ service: QueueService, isRepeated: Bool, _ seed: UInt64, _ now: Timestamp
    ) async throws(ServiceError) {
        var dice = Dice(seed: seed)
        let key = isRepeated && !queue.announced.isEmpty ? dice.pick(queue.announced).key : "announce-\(queue.id)-\(seed % 5_000)"
        let known = queue.announced.last { $0.key == key }
        let made = try await service.announce(
            "hello", severity: .info, expiresAt: now + .seconds(600), to: queue.id, tenant: queue.tenant,
            once: WriteOnce(tenant: queue.tenant, key: key, requestHash: [2]))
        guard made.seq != known?.seq else { return }
        if let known, made.seq < known.seq || isReceiptKept(since: known.at) {
            report(.state, "announcement \(known.seq) was repeated, and the answer was \(made.seq)")
        }
        queue.announced = (queue.announced + [(key, made.seq, now)]).suffix(100)
    }

    private func isReceiptKept(since moment: Timestamp) -> Bool {
        options.retention.receipts.map { scheduler.now < moment + $0 - .seconds(120) } ?? true
    }

    /// Somebody changes how lanes share, while a crowd waits in them.
    private func toggleLaneSharing(of queue: SimulatedQueue) {
        guard goesOn(queue, until: nil), let process = pickProcess() else { return }
        let seed = dice.next()
        process.ask { [self] service in
            do throws(ServiceError) {
                try await service.visit(queue.id)
                _ = try await service.update(queue.id, tenant: queue.tenant) { record in
                    var dice = Dice(seed: seed)
                    record.configuration.priorityLanes = QueueConfiguration.sharedOtherwise(record.configuration.priorityLanes, &dice)
                }
            } catch {
                judge(error)
            }
        }
    }

    /// Another tenant asks for what is not its own.
    private func intrude(_ queue: SimulatedQueue, _ service: QueueService) async {
        let stranger = TenantID(high: 9, low: 9)
        // What somebody made up leaves nothing behind.
        for _ in 0..<20 { try? await service.visit(QueueID(high: dice.next(), low: dice.next())) }
        try? await service.visit(queue.id)
        if (try? await service.queue(queue.id, tenant: stranger)) != nil { report(.tenants, "a stranger was shown a queue") }
        if (try? await service.perform(.pause, on: queue.id, tenant: stranger)) != nil { report(.tenants, "a stranger paused a queue") }
        if (try? await service.entries(of: queue.id, tenant: stranger, after: 0, epoch: nil)) != nil {
            report(.tenants, "a stranger read a log")
        }
        if let session = queue.visitors.min(by: { $0.key < $1.key })?.value.session,
            (try? await service.session(session, tenant: stranger)) != nil
        {
            report(.tenants, "a stranger was shown a session")
        }
        let words = try? await service.announce("lies", severity: .info, expiresAt: nil, to: queue.id, tenant: stranger)
        if words != nil { report(.tenants, "a stranger announced something") }
        let change = try? await service.update(queue.id, tenant: stranger) { $0.configuration.maxConcurrentUsers = 1 }
        if change != nil { report(.tenants, "a stranger changed settings") }
        let log = try? await service.log(of: "\(queue.id)", tenant: stranger)
        if log != nil { report(.tenants, "a stranger was shown where a log ends") }
        if (try? await service.delete(queue.id, tenant: stranger)) != nil { report(.tenants, "a stranger deleted a queue") }
    }

    /// Strangers come by and try.
    func scheduleIntruder() {
        guard options.intrudeEvery > 0 else { return }
        scheduler.after(dice.time(mean: options.intrudeEvery)) { [weak self] in
            guard let self, !self.isDraining else { return }
            let queue = self.dice.pick(self.queues)
            self.pickProcess()?.ask { await self.intrude(queue, $0) }
            self.scheduleIntruder()
        }
    }

    func judge(_ error: ServiceError) {
        switch error {
        case .unavailable, .storeFull, .refused, .noSuchQueue, .slugTaken: break
        // An announcement that was repeated after it had been deleted.
        case .alreadyDone: break
        default: report(.state, "an operator was answered \(error)")
        }
    }

    /// Everything is let go of: what an operator does at the end of a day.
    func settleSettings(of queue: SimulatedQueue) {
        guard !queue.isDeleted, let line = truth.line(queue.id), !line.isEmpty else { return }
        scheduler.after(.seconds(15)) { [weak self] in self?.settleSettings(of: queue) }
        for visitor in queue.visitors.sorted(by: { $0.key < $1.key }).map(\.value).prefix(50) {
            scheduler.after(dice.time(0...14)) { visitor.leave() }
        }
        guard let process = pickProcess(), line.configuration.graceSeconds > 60 || line.configuration.admissionTTLSeconds > 60 else {
            return
        }
        process.ask { service in
            try? await service.visit(queue.id)
            _ = try? await service.update(queue.id, tenant: queue.tenant) { record in
                record.configuration.graceSeconds = min(60, record.configuration.graceSeconds)
                record.configuration.admissionTTLSeconds = min(60, record.configuration.admissionTTLSeconds)
            }
        }
    }
}
