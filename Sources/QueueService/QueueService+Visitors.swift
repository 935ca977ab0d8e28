public import QueueEngine

/// What is done about one person in a queue.
extension QueueService {
    /// Who holds a place: a connection that will tell when it closes, or polls that may stop.
    public enum Holder: Sendable { case connection, polls }

    /// A place in line, and the queue as it was when the place was committed.
    public struct Joined: Sendable {
        public let session: SessionRecord
        public let snapshot: QueueSnapshot
    }

    /// Takes a place. A trusted user (`visitor.user`) who has one keeps it and is given the same session again.
    nonisolated public func join(
        _ id: QueueID, lane: String? = nil, visitor: Visitor, holder: Holder, once: WriteOnce? = nil
    ) async throws(ServiceError) -> Joined {
        // A lost race for the same person or key is met by looking again; each turn waits for a commit.
        for _ in 0..<QueueService.raceTurns {
            if visitor.user != nil || once != nil, let earlier = try await earlierPlace(id, visitor, holder, once) {
                return earlier
            }
            do throws(ServiceError) {
                let (session, snapshot) = try await perform(on: id) { [random] decision throws(ServiceError) in
                    try decision.join(lane: lane, visitor: visitor, holder: holder, once: once, random: random)
                }
                guard let snapshot else { throw .noSuchQueue }
                return Joined(session: session, snapshot: snapshot)
            } catch {
                guard error == .userHasPlace || error == .alreadyDone else { throw error }
            }
        }
        throw .unavailable(retryAfterSeconds: 1)
    }

    private func earlierPlace(_ id: QueueID, _ visitor: Visitor, _ holder: Holder, _ once: WriteOnce?) async throws(ServiceError) -> Joined?
    {
        guard let earlier = try await earlierSession(id, visitor, once) else { return nil }
        // It may have been made elsewhere just now: what is held must be known here.
        _ = try await queue(id, knowing: earlier.ticket, of: earlier.id)
        if case .polls = holder { poll(id, earlier.ticket) } else { opened(id, [earlier.ticket]) }
        return Joined(session: earlier, snapshot: try queue(id))
    }

    private func earlierSession(_ id: QueueID, _ visitor: Visitor, _ once: WriteOnce?) async throws(ServiceError) -> SessionRecord? {
        try checkStore()
        if let result = try await earlierResult(once), let session = SessionID(result) {
            do throws(ServiceError) { return try await self.session(session) } catch {
                // Retention has taken the session, and left the receipt.
                throw error == .noSuchSession ? .alreadyDone : error
            }
        }
        guard let user = visitor.user else { return nil }
        return try await asking { () throws(StoreError) in try await store.currentSession(user: user, queue: id, joining: true) }
    }

    public func session(_ id: SessionID, tenant: TenantID? = nil) async throws(ServiceError) -> SessionRecord {
        try checkStore()
        let found = try await asking { () throws(StoreError) in try await store.session(id) }
        guard let session = found, tenant == nil || session.tenant == tenant else { throw .noSuchSession }
        return session
    }

    public func session(user: String, queue: QueueID) async throws(ServiceError) -> SessionRecord {
        try checkStore()
        let found = try await asking { () throws(StoreError) in try await store.currentSession(user: user, queue: queue, joining: false) }
        guard let session = found else { throw .noSuchSession }
        return session
    }

    public func sessions(
        tenant: TenantID, queue: QueueID?, status: SessionStatus?, after cursor: String?, limit: Int
    ) async throws(ServiceError) -> Page<SessionRecord> {
        try checkStore()
        return try await asking { () throws(StoreError) in
            try await store.sessions(tenant: tenant, queue: queue, status: status, after: cursor, limit: limit)
        }
    }

    /// Leaves the line, or gives an admission back.
    ///
    /// - Parameters:
    ///   - session: with it, leaving twice is leaving once; without it the second call is refused.
    ///   - epoch: of the history in which the ticket is the caller's; nil: of the one that is told when it is committed.
    public func leave(_ id: QueueID, _ ticket: Ticket, of session: SessionID? = nil, in epoch: UInt64? = nil) async throws(ServiceError) {
        let ended = try await ending(session) { () throws(ServiceError) in
            try await perform(on: id, in: epoch) { decision throws(ServiceError) in
                try decision.run { state, now, log throws(QueueRefusal) in try state.leave(ticket, at: now, &log) }
            }
        }
        if let ended, ended.status != .left { throw .refused(.ended) }
    }

    /// The admission has served its purpose. Completing twice is completing once.
    public func complete(_ id: SessionID, tenant: TenantID) async throws(ServiceError) -> SessionRecord {
        try await end(id, tenant, as: .completed) { state, ticket, now, log throws(QueueRefusal) in
            try state.complete(ticket, at: now, &log)
        }
    }

    /// Takes somebody out. Removing twice is removing once.
    public func remove(_ id: SessionID, tenant: TenantID) async throws(ServiceError) -> SessionRecord {
        try await end(id, tenant, as: .expired) { state, ticket, now, log throws(QueueRefusal) in
            try state.remove(ticket, at: now, &log)
        }
    }

    private func end(
        _ id: SessionID, _ tenant: TenantID, as status: SessionStatus,
        _ command: @escaping @Sendable (inout QueueState, Ticket, Timestamp, inout [QueueEvent]) throws(QueueRefusal) -> Void
    ) async throws(ServiceError) -> SessionRecord {
        let session = try await session(id, tenant: tenant)
        if session.status == status { return session }
        guard session.isUnderWay else { throw .refused(.ended) }
        let epoch = hosted[session.queue]?.record.epoch
        let ended = try await ending(id) { () throws(ServiceError) in
            try await visit(session.queue, isSigned: true)
            try await perform(on: session.queue, in: epoch) { decision throws(ServiceError) in
                try decision.run { state, now, log throws(QueueRefusal) in try command(&state, session.ticket, now, &log) }
            }
        }
        if let ended, ended.status != status { throw .refused(.ended) }
        return if let ended { ended } else { try await self.session(id) }
    }

    /// Runs a command that ends the session. Returns the session where another call has ended it, or its queue has gone.
    ///
    /// A call that is refused beside the one that ends the session, in the same batch, finds it under way still, and waits
    /// for the commit in its next turn.
    private func ending(
        _ id: SessionID?, _ command: () async throws(ServiceError) -> Void
    ) async throws(ServiceError) -> SessionRecord? {
        for _ in 0..<QueueService.raceTurns {
            do throws(ServiceError) {
                try await command()
                return nil
            } catch {
                guard let id, error == .refused(.ended) || error == .refused(.notAdmitted) || error == .noSuchQueue else { throw error }
                let session = try await session(id)
                if !session.isUnderWay { return session }
                if error == .noSuchQueue { throw error }
                if error == .refused(.notAdmitted), session.status != .admitted { throw error }
                // Word of what another instance did to it has yet to come.
                await catchUp(session.queue)
            }
        }
        throw .unavailable(retryAfterSeconds: 1)
    }

    // MARK: Presence

    /// A connection holds these tickets from now on.
    ///
    /// - Parameter moment: when its visitor came; nil: now. Of connections at two instances the one that came later stays.
    public func opened(_ id: QueueID, _ tickets: [Ticket], at moment: Timestamp? = nil) {
        changePresence(of: id) { $0.open(tickets, at: moment ?? clock.now()) }
    }

    /// Connections that came later than those by which another instance has taken the tickets over: they stay, and hold them again.
    ///
    /// - Parameters:
    ///   - epoch: of the history in which the tickets are theirs.
    ///   - head: the last event that their loop knew.
    public func stayed(
        _ id: QueueID, in epoch: UInt64, asOf head: UInt64 = .max, _ connections: [(ticket: Ticket, at: Timestamp)]
    ) {
        guard hosted[id]?.record.epoch == epoch, let forgotten = hosted[id]?.forgotten else { return }
        changePresence(of: id) { changes in
            for (ticket, moment) in connections where !forgotten.contains(ticket, after: head) { changes.open([ticket], at: moment) }
        }
    }

    /// A connection that held these tickets is gone.
    ///
    /// - Parameters:
    ///   - epoch: of the history in which it held them; nil: of the one that is told.
    ///   - head: the last event that its loop knew.
    public func closed(_ id: QueueID, in epoch: UInt64? = nil, asOf head: UInt64 = .max, _ tickets: [Ticket]) {
        guard epoch == nil || epoch == hosted[id]?.record.epoch, let forgotten = hosted[id]?.forgotten else { return }
        let counted = tickets.filter { !forgotten.contains($0, after: head) }
        changePresence(of: id) { $0.close(counted) }
    }

    /// Somebody without a connection asked for the position: that counts as being present for a while.
    public func poll(_ id: QueueID, _ ticket: Ticket) {
        // While the store is away nothing is decided; whoever goes on polling is present all the same, and whoever has begun to is
        // when it is back. A commit that is under way replaces what is known of presence if it succeeds, so beside one the poll
        // waits for the next commit.
        if outage != nil, hosted[id]?.isCommitting == false,
            hosted[id]!.presence.prolong(ticket, at: clock.now(), lease: QueueService.pollLease)
        {
            return
        }
        changePresence(of: id) { $0.poll(ticket) }
    }

    /// Somebody who polls is told of the admission.
    ///
    /// - Returns: when it came to be; nil where they were told before, or did not poll here when it came.
    public func takeUntoldAdmission(_ id: QueueID, _ ticket: Ticket) -> Timestamp? { hosted[id]?.untold.remove(ticket) }

    /// A connection shows a session's token: holds the ticket, and is told where it stands.
    ///
    /// - Parameter moment: when it showed the token; nil: now. The answer may take long, and the visitor go elsewhere meanwhile.
    /// - Throws: `noSuchSession` where the token tells of a history that the store has lost.
    public func resume(
        _ id: QueueID, _ ticket: Ticket, of session: SessionID, at moment: Timestamp? = nil
    ) async throws(ServiceError) -> QueueSnapshot {
        let snapshot = try await queue(id, knowing: ticket, of: session)
        if snapshot.state.isWaiting(ticket) { opened(id, [ticket], at: moment) }
        return snapshot
    }

    /// A poll shows a session's token: counts as being present for a while, and is told where it stands.
    ///
    /// - Throws: as `resume`.
    public func poll(_ id: QueueID, _ ticket: Ticket, of session: SessionID) async throws(ServiceError) -> QueueSnapshot {
        let snapshot = try await queue(id, knowing: ticket, of: session)
        if snapshot.state.isWaiting(ticket) { poll(id, ticket) }
        return snapshot
    }

    /// A queue with a ticket in it that somebody was given, perhaps at another instance, and just now.
    public func queue(_ id: QueueID, knowing ticket: Ticket, of session: SessionID) async throws(ServiceError) -> QueueSnapshot {
        try await visit(id, isSigned: true)
        if try !isGivenOut(ticket, in: id) { await catchUp(id) }
        if try queue(id).record.isRestored { try await confirm(session, ticket, in: id) }
        guard try isGivenOut(ticket, in: id) else { throw .unavailable(retryAfterSeconds: 1) }
        return try queue(id)
    }

    /// Asks the store whether a session from before it was restored is still what its token says.
    private func confirm(_ session: SessionID, _ ticket: Ticket, in queue: QueueID) async throws(ServiceError) {
        guard let epoch = hosted[queue]?.record.epoch, hosted[queue]?.confirmed.contains(session) == false else { return }
        let known = try await self.session(session)
        guard known.queue == queue, known.ticket == ticket else { throw .noSuchSession }
        // The answer may be of the history before.
        guard hosted[queue]?.record.epoch == epoch else { throw .unavailable(retryAfterSeconds: 1) }
        hosted[queue]?.confirmed.insert(session)
    }

    private func isGivenOut(_ ticket: Ticket, in id: QueueID) throws(ServiceError) -> Bool {
        try queue(id).state.nextNumber(lane: ticket.lane) > ticket.number
    }
}

extension Decision {
    mutating func join(
        lane: String?, visitor: Visitor, holder: QueueService.Holder, once: WriteOnce?, random: any RandomSource
    ) throws(ServiceError) -> SessionRecord {
        guard let index = lane.map({ record.configuration.laneIndex(named: $0) }) ?? 0 else { throw .refused(.noSuchLane) }
        try check(once)
        if let user = visitor.user, joiningUsers.contains(user) { throw .userHasPlace }
        let id = SessionID(at: now, index: events.count, random: random.next())
        let ticket = try run(.session(id, visitor)) { state, now, log throws(QueueRefusal) in
            try state.join(lane: index, at: now, &log)
        }
        if let user = visitor.user { joiningUsers.insert(user) }
        _ = presence.opened(ticket)
        if case .polls = holder { _ = presence.polled(ticket, at: now, lease: QueueService.pollLease) }
        receipt(once, result: id.description)
        return SessionRecord(
            id: id, tenant: record.tenant, queue: record.id, ticket: ticket, visitor: visitor, status: .waiting,
            createdAt: events.last!.event.at)
    }
}
