import Locks
import QueueEngine
import Testing
import TestSupport

@testable import QueueService

/// What the store refuses, holds up or cannot read concerns nobody else.
@Suite struct FaultTests {
    private func faulty(_ kind: StoreKind = .sqlite, count: Int = 1) async throws -> (Instances, [FaultyStore]) {
        let instances = try await Instances(kind, count: count, store: FaultyStore.init)
        return (instances, instances.faultyStores)
    }

    /// Holds calls up until it is opened.
    private final class Gate: Sendable {
        private let state = Lock<(isOpen: Bool, waiting: [CheckedContinuation<Void, Never>])>((false, []))
        var waiting: Int { state.withLock { $0.waiting.count } }

        func pass() async {
            await withCheckedContinuation { continuation in
                let isOpen = state.withLock { state in
                    if !state.isOpen { state.waiting.append(continuation) }
                    return state.isOpen
                }
                if isOpen { continuation.resume() }
            }
        }

        func open() {
            let waiting = state.withLock { state in
                defer { state = (true, []) }
                return state.waiting
            }
            for one in waiting { one.resume() }
        }
    }

    /// How calls have ended so far.
    private final class Answers: Sendable {
        private let ended = Lock<[ServiceError?]>([])
        var all: [ServiceError?] { ended.withLock { $0 } }
        func add(_ refusal: ServiceError?) { ended.withLock { $0.append(refusal) } }
    }

    // MARK: Rejected data

    /// The store takes nothing that says of one of three who go that they have gone; ten join in the same batch.
    @Test func rejectedPresenceRefusesNobodysCommand() async throws {
        let (instances, stores) = try await faulty()
        let (service, store) = (instances.services[0], stores[0])
        let queue = try await instances.makeQueue(QueueConfiguration(releaseRatePerMinute: 0))
        var tickets: [Ticket] = []
        for _ in 0..<3 { tickets.append(try await service.join(queue, visitor: Visitor(), holder: .connection).session.ticket) }
        let bad = tickets[1]
        store.answer { batch in
            let isRejected = batch.contains { append in
                append.events.contains { event, _ in
                    guard case .disconnected(let ranges) = event.change else { return false }
                    return ranges.contains { $0.tickets.contains(bad) }
                }
            }
            return isRejected ? batch.map { _ in .failed(.rejected("no such place")) } : nil
        }
        // All of it comes while a commit is under way, and becomes one batch.
        let gate = Gate()
        store.before { call in if call == .append { await gate.pass() } }
        let first = Task { try await service.join(queue, visitor: Visitor(), holder: .connection) }
        #expect(await eventually { gate.waiting == 1 })
        await service.closed(queue, tickets)
        let answers = Answers()
        for _ in 0..<10 {
            Task {
                do throws(ServiceError) {
                    _ = try await service.join(queue, visitor: Visitor(), holder: .connection)
                    answers.add(nil)
                } catch { answers.add(error) }
            }
        }
        #expect(await eventually { await service.backlog.commandCount == 10 })
        gate.open()
        _ = try await first.value
        try #require(await eventually { answers.all.count == 10 })
        #expect(answers.all.allSatisfy { $0 == nil })
        // Whoever else has gone is absent.
        #expect(try await eventually { try await service.queue(queue).state.absentCount == 2 })
        #expect(try await !service.queue(queue).state.isAbsent(bad))
        #expect(await eventually { await service.hasDone(queue) })
    }

    @Test func rejectedCommandIsFoundBesidePresence() async throws {
        let (instances, stores) = try await faulty()
        let (service, store) = (instances.services[0], stores[0])
        let queue = try await instances.makeQueue(QueueConfiguration(releaseRatePerMinute: 0))
        let ticket = try await service.join(queue, visitor: Visitor(), holder: .connection).session.ticket
        store.answer { batch in
            let isRejected = batch.contains { append in
                append.events.contains { if case .session(_, let visitor) = $0.detail { visitor.displayName == "bad" } else { false } }
            }
            return isRejected ? batch.map { _ in .failed(.rejected("a character that the encoding lacks")) } : nil
        }
        let gate = Gate()
        store.before { call in if call == .append { await gate.pass() } }
        let first = Task { try await service.join(queue, visitor: Visitor(), holder: .connection) }
        #expect(await eventually { gate.waiting == 1 })
        await service.closed(queue, [ticket])
        let joins = (0..<10).map { number in
            Task { () async -> ServiceError? in
                let visitor = Visitor(displayName: number == 4 ? "bad" : nil)
                do throws(ServiceError) { _ = try await service.join(queue, visitor: visitor, holder: .connection) } catch { return error }
                return nil
            }
        }
        #expect(await eventually { await service.backlog.commandCount == 10 })
        gate.open()
        _ = try await first.value
        for (number, join) in joins.enumerated() { #expect(await join.value == (number == 4 ? .rejected : nil)) }
        #expect(try await eventually { try await service.queue(queue).state.isAbsent(ticket) })
    }

    /// The store answers heartbeats and takes no commit, as where another disk is full: that it is over only a commit shows.
    @Test func outageOfCommitsEndsWithOne() async throws {
        let error = StoreError.full
        let (instances, stores) = try await faulty()
        let (service, store) = (instances.services[0], stores[0])
        let queue = try await instances.makeQueue(QueueConfiguration(releaseRatePerMinute: 0))
        let ticket = try await service.join(queue, visitor: Visitor(), holder: .connection).session.ticket
        store.before { call throws(StoreError) in if call == .append { throw error } }
        await #expect(throws: ServiceError(error)) { try await service.join(queue, visitor: Visitor(), holder: .connection) }
        // The visitor's end waits to be committed, and is tried once after each heartbeat.
        await service.closed(queue, [ticket])
        for _ in 0..<5 {
            let tried = store.count(.append)
            await service.beat()
            #expect(await eventually { await !service.isCommitting && store.count(.append) == tried + 1 })
            #expect(await service.outage != nil)
        }
        // Nor does a heartbeat that was lost meanwhile.
        store.before { call throws(StoreError) in throw call == .append ? error : .unavailable("away") }
        await service.beat()
        store.before { call throws(StoreError) in if call == .append { throw error } }
        await service.beat()
        #expect(await eventually { await !service.isCommitting })
        await #expect(throws: ServiceError(error)) { try await service.join(queue, visitor: Visitor(), holder: .connection) }
        store.before { _ in }
        #expect(await service.outage != nil)
        await service.beat()
        #expect(await eventually { await service.outage == nil })
        #expect(try await eventually { try await service.queue(queue).state.isAbsent(ticket) })
    }

    /// Nobody wants anything that could show that the store is well again: after a while it is taken to be, and the first who wants
    /// something finds out.
    @Test func outageOfCommitsThatNobodyTriesIsForgotten() async throws {
        let (instances, stores) = try await faulty()
        let (service, store) = (instances.services[0], stores[0])
        let queue = try await instances.makeQueue(QueueConfiguration(releaseRatePerMinute: 0))
        store.before { call throws(StoreError) in if call == .append { throw .full } }
        await #expect(throws: ServiceError(.full)) { try await service.join(queue, visitor: Visitor(), holder: .connection) }
        await service.beat()
        #expect(await service.outage != nil)
        instances.clock.advance(.seconds(6))
        await service.beat()
        #expect(await service.outage == nil)
        await #expect(throws: ServiceError(.full)) { try await service.join(queue, visitor: Visitor(), holder: .connection) }
        store.before { _ in }
        await service.beat()
        _ = try await service.join(queue, visitor: Visitor(), holder: .connection)
        #expect(await service.outage == nil)
    }

    /// The rows of one queue are damaged: it is left alone for a while, its visitors are told, and the others go on, also where
    /// none of them has been written for long.
    @Test func damageOfOneQueueIsNoOutage() async throws {
        let (instances, stores) = try await faulty()
        let (service, store) = (instances.services[0], stores[0])
        let bad = try await instances.makeQueue(QueueConfiguration(releaseRatePerMinute: 0))
        let good = try await instances.makeQueue(QueueConfiguration(releaseRatePerMinute: 0))
        let session = try await service.join(bad, visitor: Visitor(), holder: .connection).session
        _ = try await service.join(good, visitor: Visitor(), holder: .connection)
        instances.clock.advance(.seconds(60))
        store.answer { batch in
            guard batch.contains(where: { $0.record.id == bad }) else { return nil }
            return batch.map { $0.record.id == bad ? .failed(.corrupt("a bad page")) : .committed }
        }
        await #expect(throws: ServiceError.self) { try await service.join(bad, visitor: Visitor(), holder: .connection) }
        #expect(await service.outage == nil)
        #expect(await eventually { await service.hosted[bad]?.snapshot?.staleSince != nil })
        await service.closed(bad, [session.ticket])
        _ = try await service.join(good, visitor: Visitor(), holder: .connection)
        #expect(await service.outage == nil)
        #expect(await service.hosted[good]?.snapshot?.staleSince == nil)
        store.answer { _ in nil }
        // The pause that is under way may be sixteen seconds.
        instances.clock.advance(.seconds(16))
        #expect(await eventually { await service.hosted[bad]?.snapshot?.staleSince == nil })
        #expect(await eventually { await service.hosted[bad]?.state.isAbsent(session.ticket) == true })
        _ = try await service.join(bad, visitor: Visitor(), holder: .connection)
    }

    /// Staleness ends with what was refused: a visitor has come back before the end was written, and a join is not repeated.
    @Test func stalenessEndsWhereNothingIsLeftToWrite() async throws {
        let (instances, stores) = try await faulty()
        let service = instances.services[0]
        let queue = try await instances.makeQueue(QueueConfiguration(releaseRatePerMinute: 0))
        let session = try await service.join(queue, visitor: Visitor(), holder: .connection).session
        stores[0].answer { appends in appends.map { _ in .failed(.corrupt("a bad page")) } }
        await service.closed(queue, [session.ticket])
        #expect(await eventually { await service.staleQueueCount == 1 })
        _ = try await service.resume(queue, session.ticket, of: session.id)
        // What waits nets to nothing, and the store is not asked: that the queue can be written again is not known yet.
        instances.clock.advance(.seconds(1))
        #expect(await eventually { await service.hosted[queue]?.isBackingOff == false })
        #expect(await service.staleQueueCount == 1)
        // A join that comes meanwhile is refused in its turn, and nobody is told in between that all is well.
        let since = await service.hosted[queue]?.staleSince
        for pause in [2, 4] {
            instances.clock.advance(.seconds(30))
            await #expect(throws: ServiceError.self) { try await service.join(queue, visitor: Visitor(), holder: .connection) }
            #expect(await eventually { await service.hosted[queue]?.isBackingOff == true })
            instances.clock.advance(.seconds(pause))
            #expect(await eventually { await service.hosted[queue]?.isBackingOff == false })
            #expect(await service.hosted[queue]?.staleSince == since)
        }
        #expect(
            await eventually {
                instances.clock.advance(.seconds(1))
                return await service.staleQueueCount == 0
            })
    }

    /// What another instance has committed meanwhile shows that a queue can be written again.
    @Test func stalenessEndsWithAnotherInstancesCommit() async throws {
        let (instances, stores) = try await faulty(.postgres, count: 2)
        let (one, other) = (instances.services[0], instances.services[1])
        let queue = try await instances.makeQueue(QueueConfiguration(releaseRatePerMinute: 0))
        _ = try await other.join(queue, visitor: Visitor(), holder: .connection)
        stores[1].answer { appends in appends.map { _ in .failed(.corrupt("a bad page")) } }
        await #expect(throws: ServiceError.self) { try await other.join(queue, visitor: Visitor(), holder: .connection) }
        #expect(await eventually { await other.staleQueueCount == 1 })
        instances.clock.advance(.milliseconds(1))
        _ = try await one.join(queue, visitor: Visitor(), holder: .connection)
        #expect(await eventually(within: 60) { await other.staleQueueCount == 0 })
        #expect(await one.staleQueueCount == 0)
        // It is tried at once, though its pause is not over.
        stores[1].answer { _ in nil }
        _ = try await other.join(queue, visitor: Visitor(), holder: .connection)
    }

    private final class ShownQueues: QueueObserver {
        private let ids = Lock<Set<QueueID>>([])
        var all: Set<QueueID> { ids.withLock { $0 } }
        func queueChanged(_ update: QueueUpdate) { ids.withLock { _ = $0.insert(update.snapshot.record.id) } }
        func queueRemoved(_ queue: QueueID) {}
        func stalenessChanged(_ since: Timestamp?) {}
    }

    /// A queue whose first event the store refuses was never there: nobody is shown it.
    @Test func queueThatCannotBeCreatedIsShownToNobody() async throws {
        let (instances, stores) = try await faulty()
        let service = instances.services[0]
        let shown = ShownQueues()
        await service.observe(shown)
        stores[0].answer { appends in appends.map { _ in .failed(.corrupt("a bad page")) } }
        await #expect(throws: ServiceError.self) { try await instances.makeQueue(QueueConfiguration()) }
        #expect(shown.all.isEmpty)
        #expect(await service.staleQueueCount == 0)
        #expect(await service.hosted.isEmpty)
    }

    /// A row that stays locked is told to those who see what was true before, when it was met three times.
    @Test func visitorsOfQueueThatStaysLockedAreTold() async throws {
        let (instances, stores) = try await faulty()
        let service = instances.services[0]
        let queue = try await instances.makeQueue(QueueConfiguration(releaseRatePerMinute: 0))
        let session = try await service.join(queue, visitor: Visitor(), holder: .connection).session
        stores[0].answer { appends in appends.map { _ in .failed(.busy("locked")) } }
        await service.closed(queue, [session.ticket])
        for turn in 1...3 {
            #expect(await eventually { await service.hosted[queue]?.busyTurns == turn })
            #expect(await (service.hosted[queue]?.snapshot?.staleSince != nil) == (turn == 3))
            instances.clock.advance(.seconds(1))
        }
        stores[0].answer { _ in nil }
        #expect(
            await eventually {
                instances.clock.advance(.seconds(1))
                return await service.staleQueueCount == 0
            })
    }

    /// Who begins to poll while the store is away is present when it is back.
    @Test func whoBeginsToPollInAnOutageIsPresentAfterIt() async throws {
        let (instances, stores) = try await faulty()
        let (service, store) = (instances.services[0], stores[0])
        let queue = try await instances.makeQueue(QueueConfiguration(releaseRatePerMinute: 0))
        let session = try await service.join(queue, visitor: Visitor(), holder: .connection).session
        store.before { call throws(StoreError) in if call == .append || call == .beat { throw .unavailable("away") } }
        await service.beat()
        await service.closed(queue, [session.ticket])
        for _ in 0..<3 { _ = try await service.poll(queue, session.ticket, of: session.id) }
        store.before { _ in }
        await service.beat()
        #expect(await eventually { await service.hasDone(queue) })
        let entries = try await instances.store.entries(of: queue, after: 0, limit: 100)
        #expect(!entries.contains { if case .disconnected = $0.event.change { true } else { false } })
        #expect(try await !service.queue(queue).state.isAbsent(session.ticket))
    }

    /// While the store is known to be away, nobody waits to find that out again.
    @Test func sessionsAreRefusedAtOnceInAnOutage() async throws {
        let (instances, stores) = try await faulty()
        let (service, store) = (instances.services[0], stores[0])
        let queue = try await instances.makeQueue(QueueConfiguration())
        let session = try await service.join(queue, visitor: Visitor(), holder: .connection).session.id
        store.before { call throws(StoreError) in if call == .append || call == .beat { throw .unavailable("away") } }
        await #expect(throws: ServiceError.self) { try await service.join(queue, visitor: Visitor(), holder: .connection) }
        let away = try #require(await service.outage?.error)
        // The store would answer: that it is not asked shows in the refusal.
        await #expect(throws: away) { try await service.session(session) }
        await #expect(throws: away) {
            try await service.join(queue, visitor: Visitor(user: "u"), holder: .connection)
        }
    }

    // MARK: Slugs

    /// Whether a slug is free the store decides: until it has, the slug leads to the queue that has it.
    @Test func slugLeadsToItsOwnerWhileAnotherQueueAsksForIt() async throws {
        let (instances, stores) = try await faulty(count: 2)
        let (service, store) = (instances.services[1], stores.last!)
        // It is at rest at the other one.
        let made = try await instances.services[0].create(tenant: instances.tenant) { $0.slug = "shop" }.record
        let (owner, slug) = (made.id, made.slug)
        let gate = Gate()
        store.before { call in if call == .append { await gate.pass() } }
        let creation = Task { () async -> ServiceError? in
            do throws(ServiceError) { _ = try await service.create(tenant: instances.tenant) { $0.slug = slug } } catch { return error }
            return nil
        }
        #expect(await eventually { gate.waiting == 1 })
        #expect(try await service.resolve(slug) == owner)
        gate.open()
        #expect(await creation.value == .slugTaken)
        #expect(try await service.resolve(slug) == owner)
    }

    // MARK: A lapsed lease

    /// Commits go on as soon as there is a lease again, however long it takes to learn what others have done.
    @Test func commitsGoOnWhileWhatOthersDidIsRead() async throws {
        let (instances, stores) = try await faulty()
        let (service, store) = (instances.services[0], stores[0])
        let queue = try await instances.makeQueue(QueueConfiguration(releaseRatePerMinute: 0))
        let gate = Gate()
        let hasLapsed = Lock(false)
        store.before { call in if call == .wakingQueues { await gate.pass() } }
        store.answer { batch in
            hasLapsed.withLock { hasLapsed in
                defer { hasLapsed = true }
                return hasLapsed ? nil : batch.map { _ in .lapsed }
            }
        }
        let isDone = Lock(false)
        let join = Task {
            _ = try await service.join(queue, visitor: Visitor(), holder: .connection)
            isDone.withLock { $0 = true }
        }
        #expect(await eventually(within: 20) { isDone.withLock { $0 } })
        gate.open()
        try await join.value
    }

    /// An instance whose leases lapse again and again asks the store less and less often.
    @Test func lapsesInARowArePaused() async throws {
        let (instances, stores) = try await faulty()
        let (service, store) = (instances.services[0], stores[0])
        let queue = try await instances.makeQueue(QueueConfiguration(releaseRatePerMinute: 0))
        let before = store.count(.append)
        store.answer { batch in batch.map { _ in .lapsed } }
        let join = Task { try await service.join(queue, visitor: Visitor(), holder: .connection) }
        #expect(await eventually { store.count(.append) == before + 2 })
        // Time stands still, and so does the service.
        #expect(await eventually(within: 20) { await !service.isCommitting })
        #expect(store.count(.append) == before + 2)
        store.answer { _ in nil }
        instances.clock.advance(.seconds(1))
        _ = try await join.value
    }

    // MARK: A queue that cannot be read

    @Test func unreadableQueueIsListedByItsRow() async throws {
        let (instances, stores) = try await faulty(.postgres, count: 2)
        let (one, other) = (instances.services[0], instances.services[1])
        instances.bus.lose(percent: 100)
        var queues: [QueueID] = []
        for name in ["a", "b"] {
            queues.append(try await one.create(tenant: instances.tenant) { $0.name = name }.record.id)
            _ = try await one.join(queues.last!, visitor: Visitor(), holder: .connection)
        }
        let unreadable = queues[0]
        stores[1].before { call throws(StoreError) in if call == .loadQueue(unreadable) { throw .corrupt("nonsense") } }
        let listed = try await other.queues(of: instances.tenant, after: nil, limit: 10)
        #expect(Set(listed.map(\.record.name)) == ["a", "b"])
        #expect(listed.map(\.state.status) == [.open, .open])
        // It is not pretended that anybody can be served in it.
        await #expect(throws: ServiceError.self) { try await other.visit(unreadable) }
        // Operators learn of it, though nobody is in it here.
        #expect(await other.staleQueueCount == 1)
        // While a store that is away says nothing about a queue.
        instances.clock.advance(.seconds(2))
        stores[1].before { call throws(StoreError) in if call == .loadQueue(unreadable) { throw .unavailable("away") } }
        await #expect(throws: ServiceError.unavailable(retryAfterSeconds: 5)) {
            try await other.queues(of: instances.tenant, after: nil, limit: 10)
        }
    }

    // MARK: Nothing is left behind

    @Test func failedCreationLeavesNothingBehind() async throws {
        let (instances, stores) = try await faulty()
        let service = instances.services[0]
        stores[0].answer { batch in batch.map { _ in .failed(.unavailable("no")) } }
        await #expect(throws: ServiceError.self) { try await service.create(tenant: instances.tenant) { $0.slug = "sale" } }
        #expect(await service.hosted.isEmpty)
        #expect(await service.slugs.isEmpty)
        #expect(await service.backlog.blocked.isEmpty)
        #expect(await service.wakes.count == 0)
        stores[0].answer { _ in nil }
        #expect(try await service.create(tenant: instances.tenant) { $0.slug = "sale" }.record.slug == "sale")
    }

    /// A queue that is being brought up to date at its moment of rest rests later.
    @Test func queueThatIsBusyAtItsMomentOfRestRestsLater() async throws {
        let (instances, stores) = try await faulty()
        let service = instances.services[0]
        let queue = try await instances.makeQueue(QueueConfiguration())
        #expect(await eventually { await service.resting.map(\.id) == [queue] })
        let gate = Gate()
        stores[0].before { call in if call == .missedEntries(queue) { await gate.pass() } }
        let catchingUp = Task { _ = await service.catchUp(queue) }
        #expect(await eventually { gate.waiting == 1 })
        // Its moment passes.
        instances.clock.advance(.seconds(121))
        #expect(await eventually { await service.resting.first.map { $0.since > Timestamp(seconds: 1_700_000_100) } ?? true })
        #expect(await service.hosted[queue] != nil)
        // Nothing but this plan brings it to rest.
        #expect(await service.resting.map(\.id) == [queue])
        gate.open()
        await catchingUp.value
        #expect(
            await eventually(within: 300) {
                instances.clock.advance(.seconds(5))
                return await service.hosted[queue] == nil
            })
    }

    // MARK: Catching up

    /// A rush commits without a pause, and an operator's command, which catches up first, is done in the midst of it.
    @Test func commandIsDoneWhileItsQueueIsCommittedWithoutAPause() async throws {
        let (instances, stores) = try await faulty()
        let (service, store) = (instances.services[0], stores[0])
        let queue = try await instances.makeQueue(QueueConfiguration(releaseRatePerMinute: 0))
        let isRush = Lock(true)
        @Sendable func join() { Task { try await service.join(queue, visitor: Visitor(), holder: .connection) } }
        store.before { call in
            guard isRush.withLock({ $0 }) else { return }
            if call == .append {
                // The next one is there before this one is committed.
                join()
                _ = await eventually { await service.backlog.commandCount > 0 }
            } else if call == .missedEntries(queue) {
                // What is read is old when it comes.
                let appends = store.count(.append)
                _ = await eventually { store.count(.append) > appends + 1 }
            }
        }
        join()
        #expect(await eventually { store.count(.append) > 3 })
        async let paused = service.perform(.pause, on: queue, tenant: instances.tenant)
        #expect(await eventually(within: 60) { await service.hosted[queue]?.state.status == .paused })
        isRush.withLock { $0 = false }
        #expect(try await paused.state.status == .paused)
    }

    /// What cannot be brought up to date is not said to be done.
    @Test func commandIsRefusedWhereTheLogCannotBeRead() async throws {
        let (instances, stores) = try await faulty(.postgres, count: 2)
        let (one, other, tenant) = (instances.services[0], instances.services[1], instances.tenant)
        let queue = try await instances.makeQueue(QueueConfiguration(releaseRatePerMinute: 0))
        _ = try await one.perform(.pause, on: queue, tenant: tenant)
        #expect(try await eventually { try await other.queue(queue).state.status == .paused })
        instances.bus.lose(percent: 100)
        _ = try await one.perform(.resume, on: queue, tenant: tenant)
        stores[1].before { call throws(StoreError) in if call == .missedEntries(queue) { throw .busy("too many wait") } }
        await #expect(throws: ServiceError.unavailable(retryAfterSeconds: 1)) {
            try await other.perform(.pause, on: queue, tenant: tenant)
        }
        stores[1].before { _ in }
        #expect(try await other.perform(.pause, on: queue, tenant: tenant).state.status == .paused)
        #expect(try await one.perform(.resume, on: queue, tenant: tenant).state.status == .open)
    }

    /// The reading of one queue that is far behind, or slow, keeps no other queue's news waiting.
    @Test func heartbeatsNewsOfOneQueueDoesNotWaitForAnother() async throws {
        let (instances, stores) = try await faulty(.postgres, count: 2)
        let (one, other) = (instances.services[0], instances.services[1])
        var queues: [QueueID] = []
        for _ in 0..<4 { queues.append(try await instances.makeQueue(QueueConfiguration(releaseRatePerMinute: 0))) }
        for queue in queues { #expect(await eventually { (try? await other.visit(queue)) != nil }) }
        instances.bus.lose(percent: 100)
        let (held, gate) = (queues[1], Gate())
        stores[1].before { call in if call == .missedEntries(held) { await gate.pass() } }
        for queue in queues { _ = try await one.perform(.pause, on: queue, tenant: instances.tenant) }
        async let beating: Void = other.beat()
        for queue in queues where queue != held {
            #expect(try await eventually { try await other.queue(queue).state.status == .paused })
        }
        #expect(try await other.queue(held).state.status == .open && gate.waiting == 1)
        gate.open()
        await beating
        #expect(try await other.queue(held).state.status == .paused)
    }

    /// Word of what happens while a queue is being read is not lost: the read may have come before it.
    @Test func whatHappensWhileAQueueIsReadIsKnown() async throws {
        let (instances, stores) = try await faulty(.postgres, count: 2)
        let (one, other) = (instances.services[0], instances.services[1])
        let configuration = QueueConfiguration(releaseRatePerMinute: 0)
        let queue = try await one.create(tenant: instances.tenant) { $0.configuration = configuration }.record.id
        let gate = Gate()
        stores[1].before { call in if call == .announcements { await gate.pass() } }
        _ = try await one.join(queue, visitor: Visitor(), holder: .connection)
        #expect(await eventually { gate.waiting > 0 })
        let read = await one.hosted[queue]?.state.head
        _ = try await one.join(queue, visitor: Visitor(), holder: .connection)
        _ = try await one.announce("Hello.", severity: .info, expiresAt: nil, to: queue, tenant: instances.tenant)
        gate.open()
        let head = try #require(await one.hosted[queue]?.state.head)
        #expect(head > read ?? head)
        #expect(await eventually(within: 30) { await other.hosted[queue]?.state.head == head })
        #expect(try await other.announcements(of: queue).count == 1)
    }

    /// What is told of other queues does not wait for one that is slow to read.
    @Test func slowReadOfAQueueHoldsUpItsOwnMessagesAlone() async throws {
        let (instances, stores) = try await faulty(.postgres, count: 2)
        let (one, other) = (instances.services[0], instances.services[1])
        let quick = try await instances.makeQueue(QueueConfiguration(releaseRatePerMinute: 0))
        let slow = try await one.create(tenant: instances.tenant) { $0.configuration = QueueConfiguration(releaseRatePerMinute: 0) }
            .record.id
        _ = try await other.join(quick, visitor: Visitor(), holder: .connection)
        let gate = Gate()
        stores[1].before { call in if call == .loadQueue(slow) { await gate.pass() } }
        async let visit: Void = other.visit(slow)
        #expect(await eventually { gate.waiting > 0 })
        // What a commit of both would tell.
        instances.bus.lose(percent: 100)
        var messages: [BusMessage] = []
        for queue in [slow, quick] {
            _ = try await one.join(queue, visitor: Visitor(), holder: .connection)
            let known = try await one.queue(queue)
            messages.append(
                BusMessage(queue: queue, epoch: known.record.epoch, head: known.state.head, previous: nil, events: []))
        }
        let heads = messages.map(\.head)
        async let told: Void = other.receive(messages)
        #expect(await eventually { await other.hosted[quick]?.state.head == heads[1] })
        gate.open()
        try await visit
        await told
        #expect(await eventually { await other.hosted[slow]?.state.head == heads[0] })
    }

    // MARK: Stopping

    /// What waits for a queue that turns out to be deleted is refused, and the service stops.
    @Test func serviceStopsWhereTheLastCommandsAreRefused() async throws {
        let (instances, stores) = try await faulty(.postgres, count: 2)
        let (service, other) = (instances.services[0], instances.services[1])
        let queue = try await instances.makeQueue(QueueConfiguration(releaseRatePerMinute: 0))
        #expect(await eventually { (try? await other.visit(queue)) != nil })
        instances.bus.lose(percent: 100)
        try await other.delete(queue, tenant: instances.tenant)
        let gate = Gate()
        stores[0].before { call in if call == .missedEntries(queue) { await gate.pass() } }
        let joined = Task { try await service.join(queue, visitor: Visitor(), holder: .connection) }
        #expect(await eventually { gate.waiting > 0 })
        let hasStopped = Lock(false)
        Task {
            await service.stop()
            hasStopped.withLock { $0 = true }
        }
        #expect(await eventually { if case .ending = await service.life { true } else { false } })
        await #expect(throws: ServiceError.unavailable(retryAfterSeconds: 1)) {
            try await service.join(queue, visitor: Visitor(), holder: .connection)
        }
        gate.open()
        await #expect(throws: ServiceError.noSuchQueue) { try await joined.value }
        #expect(await eventually { hasStopped.withLock { $0 } })
    }

    /// A queue whose row is locked is tried each second, however long that lasts; one that fails is left alone for longer.
    @Test(arguments: [(StoreError.busy("locked"), [1, 1, 1, 1, 1]), (.unavailable("broken"), [1, 2, 4, 8, 16, 16])])
    func pausesOfQueueThatCannotBeWritten(_ error: StoreError, pauses: [Int]) async throws {
        let (instances, stores) = try await faulty()
        let service = instances.services[0]
        let queue = try await instances.makeQueue(QueueConfiguration(releaseRatePerMinute: 0))
        stores[0].answer { appends in appends.map { _ in .failed(error) } }
        for pause in pauses {
            await #expect(throws: ServiceError.self) { try await service.join(queue, visitor: Visitor(), holder: .connection) }
            // The caller is answered just before the pause begins.
            #expect(await eventually { await service.hosted[queue]?.isBackingOff == true })
            instances.clock.advance(.milliseconds(1_000 * pause - 1))
            #expect(await service.hosted[queue]?.isBackingOff == true)
            instances.clock.advance(.milliseconds(1))
            #expect(await eventually(within: 60) { await service.hosted[queue]?.isBackingOff == false })
        }
    }

    /// The store may have taken one queue's part of a commit of which the rest is refused: no outage ends that would ask.
    @Test func joinInDoubtIsLookedForWithoutAnOutage() async throws {
        let (instances, stores) = try await faulty()
        let service = instances.services[0]
        let queue = try await instances.makeQueue(QueueConfiguration(releaseRatePerMinute: 0, graceSeconds: 600))
        let batch = Lock<[LogAppend]>([])
        stores[0].answer { appends in
            batch.withLock { $0 = appends }
            return appends.map { _ in .failed(.inDoubt("the connection is gone")) }
        }
        await #expect(throws: ServiceError.self) { try await service.join(queue, visitor: Visitor(), holder: .connection) }
        stores[0].answer { _ in nil }
        #expect(await service.outage == nil)
        #expect(try await instances.store.append(batch.withLock { $0 }, by: service.instance) == [.committed])
        #expect(
            try await eventually {
                instances.clock.advance(.seconds(2))
                return try await service.queue(queue).state.absentCount == 1
            })
        #expect(await service.doubtful.isEmpty)
    }

    /// A poll that comes while the store is away and a commit is still under way counts, whatever becomes of the commit.
    @Test func pollDuringAnOutageOutlivesTheCommitThatIsUnderWay() async throws {
        let (instances, stores) = try await faulty()
        let (service, store) = (instances.services[0], stores[0])
        let queue = try await instances.makeQueue(QueueConfiguration(releaseRatePerMinute: 0, graceSeconds: 600))
        let ticket = try await service.join(queue, visitor: Visitor(), holder: .polls).session.ticket
        instances.clock.advance(.seconds(20))
        let gate = Gate()
        store.before { call in if call == .append { await gate.pass() } }
        async let joined = service.join(queue, visitor: Visitor(), holder: .connection)
        #expect(await eventually { gate.waiting == 1 })
        store.before { call throws(StoreError) in if call == .beat { throw .unavailable("gone") } }
        await service.beat()
        #expect(await service.outage != nil)
        let now = instances.clock.now()
        await service.poll(queue, ticket)
        store.before { _ in }
        gate.open()
        _ = try await joined
        // Longer than the lease of before.
        #expect(
            await eventually(within: 60) {
                guard var presence = await service.hosted[queue]?.presence else { return false }
                return presence.lapsed(at: now + .seconds(25)).isEmpty && presence.polls(ticket)
            })
    }

    // MARK: Retention

    /// One of the live instances deletes what has expired, and nobody does while the store cannot be written.
    @Test func retentionIsOneInstancesAndPausesDuringAnOutage() async throws {
        var retention = RetentionSettings()
        retention.receipts = .seconds(3_600)
        let instances = try await Instances(.postgres, count: 2, retention: retention, store: FaultyStore.init)
        let stores = instances.faultyStores
        func deletions() -> [Int] { stores.map { $0.count(.deleteExpired) } }
        // Both know of each other.
        #expect(
            await eventually {
                for service in instances.services { await service.beat() }
                for service in instances.services where await service.instanceCount != 2 { return false }
                return true
            })
        let first = instances.services[0].instance < instances.services[1].instance ? 0 : 1
        #expect(
            await eventually {
                instances.clock.advance(.seconds(20))
                return deletions()[first] >= 3
            })
        #expect(deletions()[1 - first] == 0)
        let isAway = Lock(true)
        for store in stores {
            store.before { call throws(StoreError) in if call == .beat, isAway.withLock({ $0 }) { throw .unavailable("away") } }
        }
        // Heartbeats that were under way have ended, and no other one succeeds.
        #expect(
            await eventually {
                for service in instances.services { await service.beat() }
                for service in instances.services where await !service.isAway { return false }
                return true
            })
        let paused = deletions()
        for _ in 0..<20 {
            instances.clock.advance(.seconds(20))
            // A loop does one thing after the other: by then what the clock began has been done.
            for _ in 0..<10 { for service in instances.services { #expect(await service.outage != nil) } }
        }
        #expect(deletions() == paused)
        isAway.withLock { $0 = false }
        #expect(
            await eventually {
                instances.clock.advance(.seconds(20))
                return deletions()[first] > paused[first]
            })
        #expect(deletions()[1 - first] == 0)
    }
}

extension QueueService {
    /// The store is away, and no question to it is under way.
    fileprivate var isAway: Bool { outage != nil && beatsUnderWay == 0 }
    /// Nothing is left to be committed in the queue.
    fileprivate func hasDone(_ queue: QueueID) -> Bool { !isCommitting && !backlog.concerns(queue) }
}
