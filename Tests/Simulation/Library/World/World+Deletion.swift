import QueueEngine
import QueueService

/// Queues that are deleted, that get other slugs, and that are changed with a condition.
extension World {
    // MARK: Deleting

    /// At some time of the day one of several queues is deleted, with whoever is in it.
    func scheduleDeletion() {
        let candidates = queues.prefix(options.queues).filter { !$0.isDeleted }
        guard candidates.count > 1, dice.chance(0.6) else { return }
        let queue = dice.pick(Array(candidates))
        scheduler.after(dice.time(300...4_000)) { [weak self] in
            guard let self, !self.isDraining else { return }
            queue.isDeleted = true
            self.delete(queue)
        }
    }

    /// Asks until it is done.
    private func delete(_ queue: SimulatedQueue) {
        guard queue.deletedAt == nil else { return }
        scheduler.after(.seconds(30)) { [weak self] in self?.delete(queue) }
        guard let process = pickProcess() else { return }
        let (id, tenant) = (queue.id, queue.tenant)
        process.ask { [self] service in
            var isDone = false
            do throws(ServiceError) {
                try await service.visit(id)
                try await service.delete(id, tenant: tenant)
                isDone = true
            } catch {
                judge(error)
            }
            // An answer may have been lost, and the deletion done.
            let isActive = database.transaction { state, _ in state.queues[id]?.isActive ?? false }
            if isDone, isActive { report(.state, "queue \(id) was said to be deleted, and is there") }
            guard process.isAlive, !isActive, queue.deletedAt == nil else { return }
            queue.deletedAt = scheduler.now
            truth.deleted(id)
            tell("queue \(id) has been deleted")
        }
    }

    /// Every session of a deleted queue has ended, and no process serves it or keeps a visitor of it.
    func checkDeleted(_ queue: SimulatedQueue) {
        guard let deletedAt = queue.deletedAt, deletedAt < scheduler.now - patienceAfterEvents, !queue.isChecked else { return }
        let id = queue.id
        let left = database.transaction { state, _ in state.queues[id]?.rows.values.count { $0.session.isUnderWay } ?? 0 }
        if left > 0 { report(.state, "\(left) sessions of the deleted queue \(id) have not ended") }
        for process in processes.compactMap(\.self) where process.isServing {
            if process.snapshots[id] != nil { report(.replica, "process \(process.slot) still serves the deleted queue \(id)") }
            if let count = process.connections[id]?.count {
                report(.presence, "process \(process.slot) keeps \(count) visitors of the deleted queue \(id) waiting")
            }
        }
        queue.isChecked = true
    }

    // MARK: Slugs

    /// The queue gets another slug, which may be another's, or have been.
    func rename(_ queue: SimulatedQueue, _ service: QueueService, _ seed: UInt64) async throws(ServiceError) {
        let slug = "queue-\(seed % UInt64(options.queues + 3))"
        _ = try await service.update(queue.id, tenant: queue.tenant) { $0.slug = slug }
    }

    func noteSlug(of record: QueueRecord) {
        guard let old = slugs[record.id] else { return slugs[record.id] = record.slug }
        guard old != record.slug else { return }
        slugs[record.id] = record.slug
        (slugMovedAt[old], slugMovedAt[record.slug]) = (scheduler.now, scheduler.now)
    }

    /// Two heartbeats after a slug has moved it leads to its queue everywhere, and one that is nobody's leads nowhere.
    func checkSlug() {
        let slug = "queue-\(dice.int(0...options.queues + 2))"
        guard !isDraining, let process = pickProcess(), isSteady(slug) else { return }
        let owner = self.owner(of: slug)
        process.ask { [self] service in
            var found: QueueID?
            do throws(ServiceError) { found = try await service.resolve(slug) } catch {
                guard error == .noSuchQueue else { return }
            }
            guard process.isAlive, found != owner, isSteady(slug), self.owner(of: slug) == owner else { return }
            report(
                .state,
                "\(slug) leads to \(found.map { "\($0)" } ?? "nothing") at process \(process.slot), and is the slug of "
                    + "\(owner.map { "\($0)" } ?? "none")")
        }
    }

    private func owner(of slug: String) -> QueueID? { database.transaction { state, _ in state.slugs[slug] } }

    private func isSteady(_ slug: String) -> Bool {
        let moment = scheduler.now - options.recovery
        let isDeleting = queues.contains { $0.isDeleted && ($0.deletedAt ?? scheduler.now) > moment }
        return !isDeleting && slugMovedAt[slug].map { $0 < moment } ?? true
    }

    // MARK: Conditions

    /// An operator changes the settings, whatever they are.
    private func reconfigure(_ queue: SimulatedQueue, _ seed: UInt64) {
        guard !queue.isDeleted, let process = pickProcess() else { return }
        process.ask { [self] service in
            do throws(ServiceError) {
                try await service.visit(queue.id)
                try await configure(queue, service, seed, scheduler.now)
            } catch {
                judge(error)
            }
        }
    }

    /// An operator looks at the settings and changes them a little later, where nobody else has by then.
    func configureWithCondition(_ queue: SimulatedQueue, _ service: QueueService, _ seed: UInt64) async throws(ServiceError) {
        let (id, tenant, isBusy) = (queue.id, queue.tenant, options.isBusy)
        let tag = try await service.queue(id).record.version
        let wait = dice.time(mean: 10)
        // Often somebody else is about to change them, too.
        if dice.chance(0.5) {
            let (rival, moment) = (dice.next(), scheduler.now + wait)
            scheduler.at(moment + dice.time(-1...1)) { [weak self] in self?.reconfigure(queue, rival) }
        }
        scheduler.after(wait) { [weak self] in
            guard let self, !queue.isDeleted, let process = self.pickProcess() else { return }
            let now = self.scheduler.now
            process.ask { [self] service in
                do throws(ServiceError) {
                    try await service.visit(id)
                    _ = try await service.update(id, tenant: tenant, if: .version([tag])) { record in
                        if record.version != tag { self.report(.state, "settings of queue \(id) were changed with a tag that is old") }
                        var dice = Dice(seed: seed)
                        let lanes = record.configuration.priorityLanes
                        record.configuration = .random(&dice, lanes: lanes, isBusy: isBusy, now: now)
                    }
                } catch {
                    if error != .preconditionFailed { self.judge(error) }
                }
            }
        }
    }
}
