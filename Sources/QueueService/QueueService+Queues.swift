import HashTreeCollections
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
        tenant: TenantID, once: WriteOnce? = nil, _ describe: @Sendable (inout QueueRecord) throws(ServiceError) -> Void
    ) async throws(ServiceError) -> QueueSnapshot {
        try await doingOnce(once) { () throws(ServiceError) in
            guard let result = try await earlierResult(once), let id = QueueID(result) else { return nil }
            // It may be in the store before this instance has seen the answer.
            if hosted[id]?.snapshot == nil { await waitForCommit(of: id) }
            try await visit(id, isSigned: true)
            return try queue(id, tenant: tenant)
        } orElse: { () throws(ServiceError) in
            try await create(newRecord(tenant, describe), once)
        }
    }

    private func newRecord(
        _ tenant: TenantID, _ describe: @Sendable (inout QueueRecord) throws(ServiceError) -> Void
    ) throws(ServiceError) -> QueueRecord {
        let now = clock.now()
        let id: QueueID = random.identifier(at: now)
        var record = QueueRecord(
            id: id, tenant: tenant, epoch: random.next() | 1, slug: "q-\(String(id.low & 0xFFFF_FFFF_FFFF, radix: 36))", name: "",
            configuration: QueueConfiguration(), createdAt: now)
        try describe(&record)
        return record
    }

    private func create(_ record: QueueRecord, _ once: WriteOnce?) async throws(ServiceError) -> QueueSnapshot {
        let id = record.id
        // Not visible before its first event is committed: it has no snapshot until then. Whether the slug is free the store
        // decides: until it has, the slug leads to the queue that has it.
        hosted[id] = HostedQueue(record: record, state: QueueState(record.configuration))
        do throws(ServiceError) {
            try await perform(on: id) { decision throws(ServiceError) in
                try decision.configure(record)
                decision.receipt(once, result: id.description)
            }
        } catch {
            // It may have been committed all the same; then its first visit finds it.
            _ = forget(id)
            throw error
        }
        let created = try queue(id)
        slugs[created.record.slug] = id
        return created
    }

    /// Sets a queue anew; `change` sees its record as it is when the change is decided.
    ///
    /// - Parameter condition: what must be true of the queue at that moment; nil: nothing.
    /// - Throws: `preconditionFailed`, and what `change` throws.
    public func update(
        _ id: QueueID, tenant: TenantID, if condition: QueueCondition? = nil,
        _ change: @escaping @Sendable (inout QueueRecord) throws(ServiceError) -> Void
    ) async throws(ServiceError) -> QueueSnapshot {
        _ = try await newestQueue(id, tenant: tenant)
        try await perform(on: id) { decision throws(ServiceError) in
            try condition?.check(decision.record)
            var record = decision.record
            try change(&record)
            try decision.configure(record)
        }
        return try queue(id)
    }

    /// The queue with all that was committed before the call, at whatever instance: an operator may have done something
    /// elsewhere just now, and what seems to be done already would not be asked of the store.
    private func newestQueue(_ id: QueueID, tenant: TenantID) async throws(ServiceError) -> QueueSnapshot {
        let known = try await caughtUp(id, tenant: tenant)
        // A queue is closed before it is deleted.
        if known.state.status == .closed, try await deletedLog(id, tenant: tenant) != nil { unhost(id) }
        return try queue(id, tenant: tenant)
    }

    private func caughtUp(_ id: QueueID, tenant: TenantID) async throws(ServiceError) -> QueueSnapshot {
        _ = try queue(id, tenant: tenant)
        try checkStore()
        guard await catchUp(id) else { throw .unavailable(retryAfterSeconds: 1) }
        return try queue(id, tenant: tenant)
    }

    public enum Verb: String, Sendable, CaseIterable { case open, pause, resume, close }

    /// - Parameter condition: as that of `update`.
    public func perform(
        _ verb: Verb, on id: QueueID, tenant: TenantID, if condition: QueueCondition? = nil
    ) async throws(ServiceError) -> QueueSnapshot {
        let known = try await newestQueue(id, tenant: tenant)
        if verb == .open, known.state.status == .closed { try await endClosed(id, until: clock.now() + .seconds(5)) }
        try await perform(on: id) { decision throws(ServiceError) in
            try condition?.check(decision.record)
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
    func endSessionsOfClosedQueue(_ id: QueueID) {
        Task {
            do throws(ServiceError) { try await endClosed(id) } catch {
                log.warning("not all rows of a closed queue could be written", metadata: ["queue": "\(id)", "error": "\(error)"])
            }
        }
    }

    /// Deletes the queue that `name` means. Where it is the id of a queue that was deleted before, and whose row retention has
    /// left, that succeeds whatever `condition` asks: the caller may not have had the answer.
    ///
    /// - Throws: as `resolve` and `delete`.
    public func delete(named name: String, tenant: TenantID, if condition: QueueCondition? = nil) async throws(ServiceError) {
        do throws(ServiceError) {
            try await delete(try await resolveForCommand(name, tenant: tenant), tenant: tenant, if: condition)
        } catch {
            guard error == .noSuchQueue, let id = QueueID(name), try await deletedLog(id, tenant: tenant) != nil else { throw error }
        }
    }

    /// Closes a queue, ends every session in it and takes it away; its log and sessions stay in the store.
    ///
    /// Sessions end some at a time, so that no commit is held up by a crowd. A deletion that breaks off leaves a closed
    /// queue, and is finished by asking again.
    public func delete(_ id: QueueID, tenant: TenantID, if condition: QueueCondition? = nil) async throws(ServiceError) {
        // One that is deleted already is deleted once more: the caller may not have had the answer.
        let epoch = try await caughtUp(id, tenant: tenant).record.epoch
        var mustMatch = condition
        for _ in 0..<QueueService.raceTurns {
            let (head, hasWritten) = try await endAllSessions(in: id, if: mustMatch)
            // Once something is committed the caller has won the race for the settings; nobody else's change stops the rest.
            if hasWritten { mustMatch = nil }
            if try await asking({ () throws(StoreError) in try await store.deleteQueue(id, tenant: tenant, at: head) }) {
                unhost(id)
                return publish([.deletion(of: id, epoch: epoch)])
            }
            // Somebody has opened it meanwhile, here or elsewhere, and people may have joined.
            await catchUp(id)
        }
        throw .unavailable(retryAfterSeconds: 1)
    }

    /// Closes the queue and ends every session in it.
    ///
    /// - Returns: where the queue's log ended when nobody was left in it, and whether that took a commit.
    private func endAllSessions(
        in id: QueueID, if condition: QueueCondition?
    ) async throws(ServiceError) -> (head: UInt64, hasWritten: Bool) {
        var hasWritten = false
        while true {
            let expected = hasWritten ? nil : condition
            let (isEmpty, head, isChanged) = try await perform(on: id) { decision throws(ServiceError) in
                try expected?.check(decision.record)
                return try decision.run { state, now, log throws(QueueRefusal) in
                    state.close(at: now, &log)
                    for ticket in state.admitted.keys.prefix(QueueService.endedAtOnce) { try state.remove(ticket, at: now, &log) }
                    return (state.admitted.isEmpty, state.head, !log.isEmpty)
                }
            }.result
            hasWritten = hasWritten || isChanged
            if isEmpty { return (head, hasWritten) }
        }
    }

    /// Sessions of a deleted queue that end in one commit.
    static let endedAtOnce = 1_000

    /// Says a word to everyone in the queue. Returns the announcement as it was published.
    public func announce(
        _ text: String, severity: Severity, expiresAt: Timestamp?, to id: QueueID, tenant: TenantID, once: WriteOnce? = nil
    ) async throws(ServiceError) -> Announcement {
        _ = try queue(id, tenant: tenant)
        return try await doingOnce(once) { () throws(ServiceError) in
            guard let result = try await earlierResult(once), let seq = UInt64(result) else { return nil }
            return try await announcement(seq, of: id)
        } orElse: { () throws(ServiceError) in
            try await perform(on: id) { decision throws(ServiceError) in
                try decision.check(once)
                try decision.run(.announcement(text: text, severity, expiresAt: expiresAt)) { state, now, log throws(QueueRefusal) in
                    state.announce(at: now, &log)
                }
                let event = decision.events.last!.event
                decision.receipt(once, result: String(event.seq))
                return Announcement(seq: event.seq, text: text, severity: severity, publishedAt: event.at, expiresAt: expiresAt)
            }.result
        }
    }

    /// The announcement that is the event `seq`, however long ago that was.
    ///
    /// - Throws: `alreadyDone` where the log does not reach back that far any more.
    private func announcement(_ seq: UInt64, of id: QueueID) async throws(ServiceError) -> Announcement {
        let entries = try await asking { () throws(StoreError) in try await store.entries(of: id, after: seq - 1, limit: 1) }
        if let entry = entries.first, entry.event.seq == seq, let announcement = entry.announcement { return announcement }
        let latest = try await asking { () throws(StoreError) in try await store.announcements(of: id, at: .distantPast, limit: 100) }
        guard let announcement = latest.first(where: { $0.seq == seq }) else { throw .alreadyDone }
        return announcement
    }

    /// Announcements that have not expired, the newest first.
    public func announcements(of id: QueueID) throws(ServiceError) -> [Announcement] {
        guard let queue = hosted[id] else { throw .noSuchQueue }
        let now = clock.now()
        return queue.announcements.filter { $0.expiresAt.map { $0 > now } ?? true }
    }
}
