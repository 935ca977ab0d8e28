import Logging
import QueueEngine
import Telemetry

/// Finding a queue by its id or slug: among those served here, else in the store. Every request comes through here.
extension QueueService {
    /// The queue that `name` means, by id or slug, served here from now on.
    ///
    /// - Parameters:
    ///   - tenant: whose queue it must be; nil: any tenant's.
    ///   - address: where an anonymous caller stands; nil: at nobody's address.
    /// - Throws: `noSuchQueue`, also for another tenant's; `unavailable` or `storeFull` where it cannot be found out now;
    ///   `tooManyLookUps` where too many others are being looked for on the caller's behalf.
    public func resolve(_ name: String, tenant: TenantID? = nil, address: UInt64? = nil) async throws(ServiceError) -> QueueID {
        let caller = tenant.map { LookUpCaller.tenant($0) } ?? address.map { .address($0) }
        let id = if let id = QueueID(name) { id } else { try await queue(slug: name, caller) }
        try await visit(id, for: caller)
        guard tenant == nil || hosted[id]?.record.tenant == tenant else { throw .noSuchQueue }
        return id
    }

    /// The queue that `name` means, as it is now.
    ///
    /// - Throws: as `resolve`.
    public func queue(named name: String, tenant: TenantID) async throws(ServiceError) -> QueueSnapshot {
        try queue(try await resolve(name, tenant: tenant), tenant: tenant)
    }

    /// Serves the queue from now on where that is not done already.
    ///
    /// - Parameter isSigned: the id comes from a token that was signed here, so no stranger has made it up.
    /// - Throws: as `resolve`.
    public func visit(_ id: QueueID, isSigned: Bool = false) async throws(ServiceError) {
        try await visit(id, isSigned: isSigned, for: nil)
    }

    private func visit(_ id: QueueID, isSigned: Bool = false, for caller: LookUpCaller?) async throws(ServiceError) {
        if hosted[id] == nil { try await lookUp(id, isSigned: isSigned, for: caller) }
        guard hosted[id]?.snapshot != nil else { throw .noSuchQueue }
        hosted[id]!.visitedAt = clock.now()
    }

    /// The queue that `name` means, for a command to it. The store says whose a slug is now: another instance may have moved it
    /// just before.
    ///
    /// - Throws: as `resolve`.
    public func resolveForCommand(_ name: String, tenant: TenantID) async throws(ServiceError) -> QueueID {
        guard QueueID(name) == nil else { return try await resolve(name, tenant: tenant) }
        guard name.utf8.count <= QueueService.longestSlug else { throw .noSuchQueue }
        try checkStore()
        let owner = try await asking { () throws(StoreError) in try await store.queue(slug: name) }
        guard let owner else { throw .noSuchQueue }
        return try await resolve("\(owner)", tenant: tenant)
    }

    private func queue(slug: String, _ caller: LookUpCaller?) async throws(ServiceError) -> QueueID {
        if let id = slugs[slug], hosted[id]?.snapshot != nil { return id }
        guard slug.utf8.count <= QueueService.longestSlug else { throw .noSuchQueue }
        try checkStore()
        if slugLookUps[slug] == nil { try checkRoom(besides: slugLookUps.count, for: caller) }
        let lookUp = slugLookUps[slug] ?? beginLookUp(slug: slug, caller)
        guard let id = try await asking({ () throws(StoreError) in try await lookUp.value.get() }) else { throw .noSuchQueue }
        return id
    }

    private func beginLookUp(slug: String, _ caller: LookUpCaller?) -> SlugLookUp {
        let lookUp = begin(for: caller) { service throws(StoreError) in
            try await service.store.queue(slug: slug)
        } ended: {
            $0.slugLookUps[slug] = nil
        }
        slugLookUps[slug] = lookUp
        return lookUp
    }

    /// Looks for a queue in the store and serves it. Callers that ask for the same one at once share one look-up: a crowd
    /// may be faster than word of its queue.
    private func lookUp(_ id: QueueID, isSigned: Bool, for caller: LookUpCaller?) async throws(ServiceError) {
        try checkStore()
        if !isSigned, lookUps[id] == nil { try checkRoom(besides: lookUps.count, for: caller) }
        do throws(StoreError) { try await (lookUps[id] ?? beginLookUp(id, caller)).value.get() } catch { throw ServiceError(error) }
    }

    /// Names that strangers make up must not become the store's load, nor one caller's the others' refusal.
    private func checkRoom(besides count: Int, for caller: LookUpCaller?) throws(ServiceError) {
        guard lookUpShares.hasRoom(for: caller) else { throw .tooManyLookUps(retryAfterSeconds: 1) }
        guard count < limits.lookUps else { throw .unavailable(retryAfterSeconds: 1) }
    }

    private func beginLookUp(_ id: QueueID, _ caller: LookUpCaller?) -> LookUp {
        let lookUp = begin(for: caller) { service throws(StoreError) in
            try await service.load(id, isLookUp: true)
        } ended: {
            $0.lookUps[id] = nil
        }
        lookUps[id] = lookUp
        return lookUp
    }

    /// Begins a look-up that is counted for its caller, and no part of what that caller is traced for: others wait for it, too.
    private func begin<Found: Sendable>(
        for caller: LookUpCaller?, _ read: @escaping @Sendable (isolated QueueService) async throws(StoreError) -> Found,
        ended: @escaping @Sendable (isolated QueueService) -> Void
    ) -> Task<Result<Found, StoreError>, Never> {
        lookUpShares.begin(caller)
        return Operation.apart {
            Task {
                defer {
                    ended(self)
                    lookUpShares.end(caller)
                }
                do throws(StoreError) { return Result<Found, StoreError>.success(try await read(self)) } catch { return .failure(error) }
            }
        }
    }

    /// A tenant's queues by id, which is by age. Those at rest are read from the store, and stay there.
    public func queues(of tenant: TenantID, after: QueueID?, limit: Int) async throws(ServiceError) -> [QueueSnapshot] {
        let page = try await asking { () throws(StoreError) in try await store.queues(of: tenant, after: after, limit: limit) }
        var snapshots: [QueueSnapshot] = []
        for stored in page {
            // Word of the people in it may not have come here yet.
            if stored.isOccupied, hosted[stored.record.id] == nil { try await lookUpReadable(stored.record.id) }
            if let known = hosted[stored.record.id], known.state.head < stored.image.head { await catchUp(stored.record.id) }
            if let snapshot = hosted[stored.record.id]?.snapshot ?? snapshot(of: stored) { snapshots.append(snapshot) }
        }
        return snapshots
    }

    /// A queue at rest; nil where its row contradicts itself.
    private func snapshot(of stored: StoredQueue) -> QueueSnapshot? {
        guard stored.image.isConsistent else {
            // Once for each pause, and not for each list.
            if !unreadable.isPaused(stored.record.id, at: clock.now()) { noteUnreadable(stored.record.id, .contradiction) }
            return nil
        }
        return QueueSnapshot(record: stored.record, state: QueueState(stored.image), at: clock.now())
    }

    /// Serves the queue, unless what is stored of its line makes no sense: then its row is all that can be shown of it.
    private func lookUpReadable(_ id: QueueID) async throws(ServiceError) {
        try checkStore()
        do throws(StoreError) { try await (lookUps[id] ?? beginLookUp(id, nil)).value.get() } catch {
            if case .corrupt = error { return }
            throw ServiceError(error)
        }
    }

    // MARK: Serving a queue

    /// Serves a queue that must be served. Callers that ask for the same one at once share one load: many messages may tell of a
    /// queue before it is read.
    func loadServed(_ id: QueueID) async throws(StoreError) {
        try await (loads[id] ?? beginLoad(id)).value.get()
    }

    private func beginLoad(_ id: QueueID) -> LookUp {
        let load = Operation.apart {
            Task {
                defer { loads[id] = nil }
                do throws(StoreError) { return Result<Void, StoreError>.success(try await self.load(id)) } catch { return .failure(error) }
            }
        }
        loads[id] = load
        return load
    }

    /// - Parameter isLookUp: somebody has asked for a queue of this name, which need not exist.
    private func load(_ queue: QueueID, isLookUp: Bool = false) async throws(StoreError) {
        if unreadable.isPaused(queue, at: clock.now()) { throw .contradiction }
        do throws(StoreError) {
            let found = isLookUp ? try await store.loadQueue(queue) : try await store.loadServedQueue(queue)
            guard let stored = found, hosted[queue] == nil else { return }
            guard stored.image.isConsistent else { throw StoreError.contradiction }
            try await host(stored)
            unreadable.remove(queue)
        } catch {
            noteUnreadable(queue, error)
            throw error
        }
    }

    /// A queue whose rows contradict each other is read again after a pause.
    func noteUnreadable(_ queue: QueueID, _ error: StoreError) {
        log.warning("a queue could not be read", metadata: ["queue": "\(queue)", "error": "\(error)"])
        if case .corrupt = error { unreadable.insert(queue, at: clock.now()) }
    }

    private func host(_ stored: StoredQueue) async throws(StoreError) {
        let id = stored.record.id
        let announcements = try await latestAnnouncements(of: stored)
        guard hosted[id] == nil else { return }
        hosted[id] = HostedQueue(record: stored.record, state: QueueState(stored.image), announcements: announcements)
        hosted[id]!.visitedAt = clock.now()
        hosted[id]!.confirmed = ConfirmedSessions(since: clock.now())
        slugs[stored.record.slug] = id
        notify(id, events: [])
        scheduleWake(for: CollectionOfOne(id))
    }

    /// Those of the queue as it was read. Others may have come since, and their events will tell them.
    func latestAnnouncements(of stored: StoredQueue) async throws(StoreError) -> [Announcement] {
        try await store.announcements(of: stored.record.id, at: clock.now(), limit: 20).filter { $0.seq <= stored.image.head }
    }

    /// The queue has been deleted.
    func unhost(_ id: QueueID) {
        guard forget(id) else { return }
        for observer in observers { observer.queueRemoved(id) }
    }

    /// Serves the queue no longer. False where that was not so.
    func forget(_ id: QueueID) -> Bool {
        guard let queue = hosted.removeValue(forKey: id) else { return false }
        for one in queue.waiting { one.resume() }
        for command in backlog.remove(id) { command.fail(.noSuchQueue) }
        resumeIdleWaiters()
        wakes.plan(id, at: nil)
        unreadable.remove(id)
        if slugs[queue.record.slug] == id { slugs[queue.record.slug] = nil }
        return true
    }
}
