import Logging
public import QueueEngine

/// What operators do with queues.
extension QueueService {
    /// A queue that `tenant` owns; nil: any tenant's.
    public func queue(_ id: QueueID, tenant: TenantID? = nil) throws(ServiceError) -> QueueSnapshot {
        guard let queue = hosted[id], let snapshot = queue.snapshot, tenant == nil || queue.record.tenant == tenant else {
            throw .noSuchQueue
        }
        return snapshot
    }

    /// Makes a queue. It is open at once, unless it opens later.
    ///
    /// - Parameter describe: sets what is to differ from a queue without a name and with an address that was drawn.
    public func create(
        tenant: TenantID, once: WriteOnce? = nil, _ describe: @Sendable (inout QueueRecord) -> Void
    ) async throws(ServiceError) -> QueueSnapshot {
        if let result = try await earlierResult(once), let id = QueueID(result) { return try queue(id, tenant: tenant) }
        let now = clock.now()
        let id: QueueID = random.identifier(at: now)
        var described = QueueRecord(
            id: id, tenant: tenant, epoch: random.next() | 1, slug: "q-\(String(id.low & 0xFFFF_FFFF_FFFF, radix: 36))", name: "",
            configuration: QueueConfiguration(), createdAt: now)
        describe(&described)
        let record = described
        guard slugs[record.slug] == nil else { throw .slugTaken }
        // Not visible before its first event is committed: it has no snapshot until then.
        hosted[id] = HostedQueue(record: record, state: QueueState(record.configuration))
        slugs[record.slug] = id
        do throws(ServiceError) {
            try await perform(on: id) { decision throws(ServiceError) in
                try decision.configure(record)
                decision.receipt(once, result: id.description)
            }
        } catch {
            hosted[id] = nil
            if slugs[record.slug] == id { slugs[record.slug] = nil }
            guard error == .alreadyDone else { throw error }
            return try await create(tenant: tenant, once: once, describe)
        }
        return try queue(id)
    }

    /// Sets a queue anew; `change` sees its record as it is when the change is decided.
    public func update(
        _ id: QueueID, tenant: TenantID, _ change: @escaping @Sendable (inout QueueRecord) -> Void
    ) async throws(ServiceError) -> QueueSnapshot {
        let before = try queue(id, tenant: tenant).record
        var wanted = before
        change(&wanted)
        if wanted.slug != before.slug, let other = slugs[wanted.slug], other != id { throw .slugTaken }
        try await perform(on: id) { decision throws(ServiceError) in
            var record = decision.record
            change(&record)
            try decision.configure(record)
        }
        return try queue(id)
    }

    public enum Verb: String, Sendable, CaseIterable { case open, pause, resume, close }

    public func perform(_ verb: Verb, on id: QueueID, tenant: TenantID) async throws(ServiceError) -> QueueSnapshot {
        let known = try queue(id, tenant: tenant)
        if verb == .open, known.state.status == .closed { try await endClosed(id, until: clock.now() + .seconds(5)) }
        try await perform(on: id) { decision throws(ServiceError) in
            try decision.run { state, now, log throws(QueueRefusal) in
                switch verb {
                case .open: try state.open(at: now, &log)
                case .pause: try state.pause(at: now, &log)
                case .resume: try state.resume(at: now, &log)
                case .close: state.close(at: now, &log)
                }
            }
        }
        return try queue(id)
    }

    /// Writes it into their rows that closing has sent them away: some at a time, so that nobody else waits for a million.
    ///
    /// - Throws: `unavailable` where there are more than can be written until `deadline`: whoever asks again finds fewer.
    private func endClosed(_ id: QueueID, until deadline: Timestamp? = nil) async throws(ServiceError) {
        while try await asking({ () throws(StoreError) in try await store.endClosed(id, limit: 2_000) }) > 0 {
            if let deadline, clock.now() >= deadline { throw .unavailable(retryAfterSeconds: 5) }
        }
    }

    /// The same once it is committed that a queue is closed. Whoever opens it again sees to what is left.
    func goOnClosing(_ id: QueueID) {
        Task {
            do throws(ServiceError) { try await endClosed(id) } catch {
                log.warning("not all rows of a closed queue could be written", metadata: ["queue": "\(id)", "error": "\(error)"])
            }
        }
    }

    /// Closes a queue and takes it away; its log and sessions stay in the store.
    public func delete(_ id: QueueID, tenant: TenantID) async throws(ServiceError) {
        _ = try await perform(.close, on: id, tenant: tenant)
        try await asking { () throws(StoreError) in try await store.deleteQueue(id, tenant: tenant) }
        unhost(id)
    }

    /// Says a word to everyone in the queue. Returns the announcement as it was published.
    public func announce(
        _ text: String, severity: Severity, expiresAt: Timestamp?, to id: QueueID, tenant: TenantID, once: WriteOnce? = nil
    ) async throws(ServiceError) -> Announcement {
        _ = try queue(id, tenant: tenant)
        if let result = try await earlierResult(once), let seq = UInt64(result) {
            let known = try await asking { () throws(StoreError) in try await store.announcements(of: id, at: .distantPast, limit: 100) }
            if let same = known.first(where: { $0.seq == seq }) { return same }
        }
        do throws(ServiceError) {
            return try await perform(on: id) { decision throws(ServiceError) in
                try decision.check(once)
                try decision.run(.announcement(text: text, severity, expiresAt: expiresAt)) { state, now, log throws(QueueRefusal) in
                    state.announce(at: now, &log)
                }
                let event = decision.events.last!.event
                decision.receipt(once, result: String(event.seq))
                return Announcement(seq: event.seq, text: text, severity: severity, publishedAt: event.at, expiresAt: expiresAt)
            }.result
        } catch {
            guard error == .alreadyDone else { throw error }
            return try await announce(text, severity: severity, expiresAt: expiresAt, to: id, tenant: tenant, once: once)
        }
    }

    /// Announcements that have not expired, the newest first.
    public func announcements(of id: QueueID) throws(ServiceError) -> [Announcement] {
        guard let queue = hosted[id] else { throw .noSuchQueue }
        let now = clock.now()
        return queue.announcements.filter { $0.expiresAt.map { $0 > now } ?? true }
    }
}
