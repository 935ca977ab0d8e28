import EventLoop
import Locks
import QueueEngine
import Testing
import TestSupport

@testable import QueueService

@Suite struct LeaseTests {
    /// Longer than a beat takes on a busy disk: who cannot keep its own lease for as long as that takes nobody for dead.
    private static let lease = Timestamp.Span.seconds(5)

    /// Who was told what of who moved away.
    final class Moves: QueueObserver {
        let tickets = Lock<[Ticket]>([])
        func queueChanged(_ update: QueueUpdate) { tickets.withLock { $0 += update.movedAway.map(\.ticket) } }
        func queueRemoved(_ queue: QueueID) {}
        func stalenessChanged(_ since: Timestamp?) {}
    }

    private func join(_ service: QueueService, _ queue: QueueID, count: Int) async throws -> [Ticket] {
        var tickets: [Ticket] = []
        for _ in 0..<count { tickets.append(try await service.join(queue, visitor: Visitor(), holder: .connection).session.ticket) }
        return tickets
    }

    private func absences(_ instances: Instances, _ queue: QueueID) async throws -> [[Ticket]] {
        try await instances.store.entries(of: queue, after: 0, limit: 100_000).compactMap { entry in
            if case .lost(let ranges, _, _) = entry.event.change { ranges.flatMap { Array($0.tickets) } } else { nil }
        }
    }

    /// One of three dies. Who was connected there is marked absent once; who has come back elsewhere is not.
    @Test(arguments: StoreKind.allCases) func whoWasHeldByADeadInstanceIsMarkedAbsentOnce(_ kind: StoreKind) async throws {
        let instances = try await Instances(kind, count: 3, lease: LeaseTests.lease)
        let (dead, others) = (instances.services[0], instances.services[1...])
        let queue = try await instances.makeQueue(QueueConfiguration(releaseRatePerMinute: 0, graceSeconds: 600))
        let lost = try await join(dead, queue, count: 5)
        let moved = try await join(dead, queue, count: 2)
        _ = try await join(others[1], queue, count: 3)
        for ticket in moved { _ = try await others[2].resume(queue, ticket, of: SessionID(high: 0, low: 0)) }
        instances.bus.lose(percent: 100)
        let isMarked = try await eventually {
            for service in others { await service.beat() }
            return try await others[1].queue(queue).state.absentCount == lost.count
        }
        #expect(isMarked)
        for _ in 0..<3 { for service in others { await service.beat() } }
        #expect(try await absences(instances, queue) == [lost])
        for service in others { #expect(try await service.queue(queue).state.absentCount == lost.count) }
        let first = try await instances.store.beat(
            InstanceID(high: 0, low: 1), lease: .seconds(1), capacity: nil, after: .none, known: [])
        #expect(!first.peers.contains { $0.id == dead.instance })
    }

    /// An instance was taken for dead and was not: its visitors are seen again as soon as it learns of it.
    @Test(arguments: StoreKind.allCases) func whoWasFrozenSaysWhoIsStillThere(_ kind: StoreKind) async throws {
        let instances = try await Instances(kind, count: 2, lease: LeaseTests.lease)
        let (frozen, other) = (instances.services[0], instances.services[1])
        let queue = try await instances.makeQueue(QueueConfiguration(releaseRatePerMinute: 0, graceSeconds: 600))
        let tickets = try await join(frozen, queue, count: 4)
        instances.bus.lose(percent: 100)
        #expect(
            try await eventually {
                await other.beat()
                return try await other.queue(queue).state.absentCount == 4
            })
        // It knows of nothing, and somebody joins there: first it takes a lease again.
        _ = try await join(frozen, queue, count: 1)
        #expect(
            try await eventually {
                await other.beat()
                return try await other.queue(queue).state.absentCount == 0
            })
        await frozen.closed(queue, tickets)
        #expect(
            try await eventually {
                await other.beat()
                let state = try await other.queue(queue).state
                return tickets.allSatisfy { state.isAbsent($0) }
            })
    }

    /// Whoever comes to another instance while the old connection is not known to be gone is held by the new one.
    @Test func theNewerConnectionHoldsThePlace() async throws {
        let instances = try await Instances(count: 2)
        let (old, new) = (instances.services[0], instances.services[1])
        let moves = Moves()
        await old.observe(moves)
        let queue = try await instances.makeQueue(QueueConfiguration(releaseRatePerMinute: 0, graceSeconds: 600))
        let ticket = try await join(old, queue, count: 1)[0]
        _ = try await new.resume(queue, ticket, of: SessionID(high: 0, low: 0))
        #expect(await eventually { moves.tickets.withLock { $0 } == [ticket] })
        await old.closed(queue, [ticket])
        _ = try await join(old, queue, count: 1)
        #expect(try await old.queue(queue).state.absentCount == 0)
        await new.closed(queue, [ticket])
        #expect(try await eventually { try await old.queue(queue).state.isAbsent(ticket) })
    }

    /// Who polls, each time at another instance, is told of once and stays in sight.
    @Test func pollsMayGoToAnyInstance() async throws {
        let instances = try await Instances(count: 2)
        let queue = try await instances.makeQueue(QueueConfiguration(releaseRatePerMinute: 0, graceSeconds: 600))
        let ticket = try await instances.services[0].join(queue, visitor: Visitor(), holder: .polls).session.ticket
        let head = try await instances.services[0].queue(queue).state.head
        for turn in 0..<8 {
            await instances.services[turn % 2].poll(queue, ticket)
            instances.clock.advance(.seconds(3))
        }
        for service in instances.services { #expect(try await !service.queue(queue).state.isAbsent(ticket)) }
        #expect(try await instances.services[0].queue(queue).state.head == head)
    }

    /// Without a bus the beat tells of what others have made, changed and taken away.
    @Test(arguments: StoreKind.allCases) func withoutABusTheBeatTells(_ kind: StoreKind) async throws {
        let instances = try await Instances(kind, count: 2)
        instances.bus.lose(percent: 100)
        let (one, other) = (instances.services[0], instances.services[1])
        let queue = try await one.create(tenant: instances.tenant) {
            $0.name = "before"
            $0.configuration = QueueConfiguration(releaseRatePerMinute: 0)
        }.record.id
        try await other.visit(queue)
        #expect(try await other.queue(queue).record.name == "before")
        _ = try await one.update(queue, tenant: instances.tenant) { $0.name = "after" }
        _ = try await join(one, queue, count: 3)
        await other.beat()
        #expect(try await other.queue(queue).record.name == "after")
        #expect(try await other.queue(queue).state.waitingCount == 3)
        try await one.delete(queue, tenant: instances.tenant)
        await other.beat()
        await #expect(throws: ServiceError.noSuchQueue) { try await other.queue(queue) }
    }

    private func isServed(_ queue: QueueID, by service: QueueService) async throws(ServiceError) -> Bool {
        do throws(ServiceError) { try await service.visit(queue) } catch {
            guard error == .noSuchQueue else { throw error }
            return false
        }
        return true
    }

    /// A queue that another instance has made is served by every one that is asked for it.
    @Test(arguments: StoreKind.allCases) func newQueueIsFoundInTheStore(_ kind: StoreKind) async throws {
        let instances = try await Instances(kind, count: 2)
        instances.bus.lose(percent: 100)
        let (one, other) = (instances.services[0], instances.services[1])
        func make() async throws -> QueueID { try await one.create(tenant: instances.tenant) { $0.name = "new" }.record.id }
        let queue = try await make()
        #expect(try await isServed(queue, by: other))
        #expect(try await other.queue(queue).record.name == "new")
        let slug = try await one.queue(make()).record.slug
        #expect(try await one.resolve(slug) == other.resolve(slug))
        let madeUp: QueueID = SeededSource(seed: 8).identifier(at: instances.clock.now())
        #expect(try await !isServed(madeUp, by: other))
        // A crowd that is faster than word of its queue.
        let rushed = try await make()
        let served = await withTaskGroup(of: Bool.self) { group in
            for _ in 0..<100 { group.addTask { (try? await self.isServed(rushed, by: other)) == true } }
            return await group.reduce(into: 0) { $0 += $1 ? 1 : 0 }
        }
        #expect(served == 100)
        // While the store is away nobody can say whether there is such a queue.
        let late = try await make()
        await other.beginOutage(.unavailable("away"))
        await #expect(throws: ServiceError.unavailable(retryAfterSeconds: 5)) { try await other.visit(late) }
        await other.beat()
        #expect(try await isServed(late, by: other))
    }

    /// Strangers make up ids: some are looked for at once, the other callers are to come again, and nothing is left behind.
    @Test func madeUpIdsAreLookedForAFewAtOnce() async throws {
        let instances = try await Instances(count: 1)
        let service = instances.services[0]
        let refused = await withTaskGroup(of: Bool.self) { group in
            for seed in 0..<1_000 {
                let madeUp: QueueID = SeededSource(seed: UInt64(seed)).identifier(at: instances.clock.now())
                group.addTask {
                    do throws(ServiceError) { #expect(try await !self.isServed(madeUp, by: service)) } catch {
                        return error == .unavailable(retryAfterSeconds: 1)
                    }
                    return false
                }
            }
            return await group.reduce(into: 0) { $0 += $1 ? 1 : 0 }
        }
        #expect(refused > 0 && refused <= 1_000 - WorkLimits().lookUps)
        #expect(await service.lookUps.isEmpty)
        #expect(await service.hosted.isEmpty)
    }

    /// Who shows a token has not made it up: a crowd that comes back to a queue that was deleted is told so, each of them.
    @Test func everyoneWithATokenIsToldThatTheirQueueIsGone() async throws {
        let instances = try await Instances(count: 1)
        let service = instances.services[0]
        let told = await withTaskGroup(of: Bool.self) { group in
            for seed in 0..<200 {
                let gone: QueueID = SeededSource(seed: UInt64(seed / 2)).identifier(at: instances.clock.now())
                group.addTask {
                    do throws(ServiceError) {
                        _ = try await service.queue(gone, knowing: Ticket(lane: 0, number: 1), of: SessionID(high: 0, low: 0))
                    } catch { return error == .noSuchQueue }
                    return false
                }
            }
            return await group.reduce(into: 0) { $0 += $1 ? 1 : 0 }
        }
        #expect(told == 200)
        #expect(await service.lookUps.isEmpty)
    }

    /// A ticket that was given out elsewhere a moment ago is known to whoever is shown it.
    @Test func aTokenIsGoodAtEveryInstanceAtOnce() async throws {
        let instances = try await Instances(count: 2)
        instances.bus.lose(percent: 100)
        let queue = try await instances.services[0].create(tenant: instances.tenant) {
            $0.configuration = QueueConfiguration(releaseRatePerMinute: 0)
        }.record.id
        let ticket = try await join(instances.services[0], queue, count: 3)[2]
        #expect(try await instances.services[1].resume(queue, ticket, of: SessionID(high: 0, low: 0)).state.position(ticket) == 3)
    }

    /// The store is restored from an older copy under two instances that run. Readers are told by the epoch, whoever joined
    /// since then has no place, and a token of theirs is not good for another one's.
    @Test func aRestoredStoreTellsAnotherHistory() async throws {
        let instances = try await Instances(.postgres, count: 2)
        let (one, other) = (instances.services[0], instances.services[1])
        let queue = try await instances.makeQueue(QueueConfiguration(releaseRatePerMinute: 0, graceSeconds: 600))
        let kept = try await one.join(queue, visitor: Visitor(), holder: .connection).session
        func psql(_ sql: String) throws { try TestStore.psql(sql, in: instances.home.uri) }
        _ = try await one.announce("kept", severity: .info, expiresAt: nil, to: queue, tenant: instances.tenant)
        try psql("CREATE TABLE copy AS SELECT id, head, counters, last_event_at FROM queues")
        let lost = try await one.join(queue, visitor: Visitor(), holder: .connection).session
        let before = try await one.queue(queue)
        try psql(
            """
            UPDATE queues q SET head = c.head, counters = c.counters, last_event_at = c.last_event_at FROM copy c WHERE c.id = q.id;
            DELETE FROM log USING copy c WHERE queue_id = c.id AND seq > c.head; DELETE FROM user_sessions WHERE ticket > 1
            """)
        for service in [one, other, one] { await service.beat() }
        #expect(
            try await eventually {
                await other.beat()
                let (a, b) = try await (one.queue(queue), other.queue(queue))
                return a.state == b.state && a.state.absentCount == 1 && a.record.epoch == b.record.epoch
            })
        let after = try await one.queue(queue)
        #expect(after.record.epoch != before.record.epoch)
        for service in [one, other] { #expect(try await service.announcements(of: queue).map(\.text) == ["kept"]) }
        await #expect {
            try await other.entries(
                of: queue, tenant: instances.tenant, after: before.state.head, epoch: before.record.epoch)
        } throws: { error in
            if case .logRestarted(after.record.epoch, first: 1, _) = error as? ServiceError { true } else { false }
        }
        let new = try await other.join(queue, visitor: Visitor(), holder: .connection).session
        #expect(new.ticket == lost.ticket)
        await #expect(throws: ServiceError.noSuchSession) { try await one.resume(queue, lost.ticket, of: lost.id) }
        #expect(try await one.resume(queue, new.ticket, of: new.id).state.position(new.ticket) == 2)
        _ = try await one.resume(queue, kept.ticket, of: kept.id)
        #expect(try await eventually { try await other.queue(queue).state.absentCount == 0 })
    }

    /// After a restore every queue is rebuilt at once: so many at a time that requests find room beside them.
    @Test func restoredQueuesAreRebuiltSomeAtATime() async throws {
        let instances = try await Instances(.postgres, count: 1, store: FaultyStore.init)
        let (service, store) = (instances.services[0], instances.faultyStores[0])
        for _ in 0..<40 { _ = try await instances.makeQueue(QueueConfiguration(releaseRatePerMinute: 0)) }
        let epochs = await Set(service.hosted.values.map(\.record.epoch))
        try TestStore.psql("UPDATE queues SET epoch = epoch + 2 * length(slug)", in: instances.home.uri)
        let loads = Lock((now: 0, most: 0))
        store.before { call in
            guard case .loadQueue = call else { return }
            loads.withLock { $0 = ($0.now + 1, max($0.most, $0.now + 1)) }
            // As long as others may come: the limit's worth of them, or all.
            _ = await eventually(within: 1) { loads.withLock { $0.most } > 16 }
            loads.withLock { $0.now -= 1 }
        }
        await service.beat()
        #expect(await service.hosted.values.allSatisfy { !epochs.contains($0.record.epoch) })
        #expect(loads.withLock { $0.most } == 16)
    }

    /// Also of a queue that no instance has in memory, because it is at rest or was deleted since the copy was made.
    @Test func readersOfQueuesAtRestAreToldOfARestore() async throws {
        let instances = try await Instances(.postgres, count: 1)
        let service = instances.services[0]
        var logs: [LogHead] = []
        for _ in 0..<2 {
            let queue = try await instances.makeQueue(QueueConfiguration(releaseRatePerMinute: 0))
            _ = try await service.entries(of: queue, tenant: instances.tenant, after: 0, epoch: nil)
            logs.append(try await service.log(of: "\(queue)", tenant: instances.tenant))
        }
        await service.beat()
        try TestStore.psql("CREATE TABLE copy AS SELECT * FROM heartbeats", in: instances.home.uri)
        try await service.delete(logs[1].queue, tenant: instances.tenant)
        await service.beat()
        await service.unhost(logs[0].queue)
        // Both are as they were, and something else has happened in them since.
        try TestStore.psql(
            """
            DELETE FROM heartbeats; INSERT INTO heartbeats SELECT * FROM copy; UPDATE queues SET is_active = true, status = 'paused';
            UPDATE log SET type = 'paused', data = NULL
            """, in: instances.home.uri)
        await service.beat()
        for log in logs {
            let now = try await service.log(of: "\(log.queue)", tenant: instances.tenant)
            #expect(now.epoch != log.epoch)
            await #expect(throws: ServiceError.logRestarted(epoch: now.epoch, first: 1, head: now.seq)) {
                try await service.entries(of: log.queue, tenant: instances.tenant, after: 0, epoch: log.epoch)
            }
            let entries = try await service.entries(of: log.queue, tenant: instances.tenant, after: 0, epoch: nil)
            #expect(!entries.isEmpty && entries.allSatisfy { $0.event.change == .paused })
        }
    }

    /// After a restore the store is asked once whether a session of before is still what its token says, and never for one that was
    /// made since: so nobody is turned away while it is away later.
    @Test func restoreMakesNobodyDependOnTheStoreForGood() async throws {
        let instances = try await Instances(count: 1, store: FaultyStore.init)
        let (service, store) = (instances.services[0], instances.faultyStores[0])
        let queue = try await instances.makeQueue(QueueConfiguration(releaseRatePerMinute: 0, graceSeconds: 3_600))
        let old = try await service.join(queue, visitor: Visitor(), holder: .connection).session
        await service.beat()
        try await instances.store.beginHistory()
        await service.beat()
        #expect(try await service.queue(queue).record.isRestored)
        instances.clock.advance(.seconds(61))
        let new = try await service.join(queue, visitor: Visitor(), holder: .connection).session
        for session in [old, new] { _ = try await service.resume(queue, session.ticket, of: session.id) }
        #expect(store.count(.session) == 1)
        store.before { call throws(StoreError) in if case .session = call { throw .unavailable("away") } }
        for session in [old, new] { _ = try await service.resume(queue, session.ticket, of: session.id) }
        // Another restore, and it is asked again.
        store.before { _ in }
        try await instances.store.beginHistory()
        await service.beat()
        _ = try await service.resume(queue, old.ticket, of: old.id)
        #expect(store.count(.session) == 2)
    }

    /// Commits that go on all the time leave a replica the moment in which it is built anew.
    @Test func replicaIsRebuiltAlthoughCommitsNeverPause() async throws {
        let instances = try await Instances(count: 1)
        let service = instances.services[0]
        let queue = try await instances.makeQueue(QueueConfiguration(releaseRatePerMinute: 0))
        let before = try await service.queue(queue).record.epoch
        let isOver = Lock(false)
        let crowd = (0..<8).map { _ in
            Task { @Sendable in
                while !isOver.withLock({ $0 }) { _ = try? await service.join(queue, visitor: Visitor(), holder: .connection) }
            }
        }
        #expect(try await eventually { try await service.queue(queue).state.waitingCount > 20 })
        try await instances.store.beginHistory()
        let beat = Task { await service.beat() }
        #expect(try await eventually { try await service.queue(queue).record.epoch != before })
        isOver.withLock { $0 = true }
        for one in crowd { await one.value }
        await beat.value
        // What waited meanwhile has gone on.
        _ = try await service.join(queue, visitor: Visitor(), holder: .connection)
    }

    enum Noticed: CaseIterable { case byTheBeat, byACommit, byReadingOn }

    /// The store was restored, and somebody has written so much since then that its log is not the shorter one any more.
    @Test(arguments: Noticed.allCases) func anotherHistoryMayBeAsLong(_ noticed: Noticed) async throws {
        let instances = try await Instances(.postgres, count: 1)
        let service = instances.services[0]
        let queue = try await instances.makeQueue(QueueConfiguration(releaseRatePerMinute: 0, graceSeconds: 600))
        // Long after the service began: what is known of sessions since then is not known of those that are lost.
        instances.clock.advance(.seconds(90))
        let kept = try await service.join(queue, visitor: Visitor(), holder: .connection).session
        let lost = try await service.join(queue, visitor: Visitor(), holder: .connection).session
        let before = try await service.queue(queue)
        let more = noticed == .byReadingOn
        try TestStore.psql(
            """
            UPDATE log SET at = at + interval '1 microsecond' WHERE seq = \(before.state.head);
            UPDATE user_sessions SET id = gen_random_uuid() WHERE ticket = 2;
            UPDATE queues SET last_event_at = last_event_at + interval '1 microsecond';
            \(more ? "INSERT INTO log SELECT queue_id, seq + 1, tenant_id, at, 'paused' FROM log WHERE seq = \(before.state.head);" : "")
            \(more ? "UPDATE queues SET head = head + 1, status = 'paused'" : "")
            """, in: instances.home.uri)
        if noticed == .byACommit {
            #expect(try await service.join(queue, visitor: Visitor(), holder: .connection).session.ticket.number == 3)
        } else {
            await service.beat()
        }
        let after = try await service.queue(queue)
        #expect(after.record.epoch != before.record.epoch)
        #expect(after.state.status == (more ? .paused : .open))
        await #expect(throws: ServiceError.noSuchSession) { try await service.resume(queue, lost.ticket, of: lost.id) }
        _ = try await service.resume(queue, kept.ticket, of: kept.id)
    }

    /// What people of the lost line have asked for does nothing to those who have their tickets in the new one.
    @Test func whatWasAskedInTheLostLineConcernsNobodyInTheNewOne() async throws {
        let instances = try await Instances(.postgres, count: 1)
        let service = instances.services[0]
        let queue = try await instances.makeQueue(QueueConfiguration(releaseRatePerMinute: 0, graceSeconds: 600))
        let lost = try await service.join(queue, visitor: Visitor(), holder: .connection).session
        let epoch = try await service.queue(queue).record.epoch
        await service.block(queue, for: .seconds(600))
        await service.opened(queue, [lost.ticket])
        let leaving = Task { try await service.leave(queue, lost.ticket, of: lost.id, in: epoch) }
        #expect(await eventually { await service.backlog.commandCount == 1 })
        try TestStore.psql(
            """
            UPDATE log SET at = at + interval '1 microsecond'; UPDATE user_sessions SET id = gen_random_uuid();
            UPDATE queues SET last_event_at = last_event_at + interval '1 microsecond'
            """, in: instances.home.uri)
        await service.beat()
        await #expect(throws: ServiceError.unavailable(retryAfterSeconds: 1)) { try await leaving.value }
        #expect(try await eventually { try await service.queue(queue).state.isAbsent(lost.ticket) })
        #expect(await service.hosted[queue]?.presence.holds(lost.ticket) == false)
        #expect(await eventually { await !service.backlog.concerns(queue) })
    }

    /// To read a queue may be to read a million rows: one that makes no sense is not read with each beat, nor for each visitor.
    @Test func queueThatMakesNoSenseIsReadAgainAfterAPause() async throws {
        let instances = try await Instances(.postgres, count: 2, store: FaultyStore.init)
        let (service, other) = (instances.services[0], instances.services[1])
        let queue = try await instances.makeQueue(QueueConfiguration(releaseRatePerMinute: 0))
        let session = try await service.join(queue, visitor: Visitor(), holder: .connection).session
        func setTicket(_ number: Int) throws {
            try TestStore.psql("UPDATE user_sessions SET ticket = \(number)", in: instances.home.uri)
        }
        try setTicket(999)
        try await instances.store.beginHistory()
        if await other.forget(queue) {}
        let before = instances.faultyStores.map { $0.count(.loadQueue(queue)) }
        for _ in 0..<5 {
            await service.beat()
            await #expect(throws: ServiceError.self) { try await other.visit(queue) }
        }
        #expect(instances.faultyStores.map { $0.count(.loadQueue(queue)) } == before.map { $0 + 1 })
        try setTicket(Int(session.ticket.rawValue))
        instances.clock.advance(.seconds(2))
        await service.beat()
        try await other.visit(queue)
        #expect(try await service.queue(queue).state.isWaiting(session.ticket))
    }

    @Test func aMessageSaysWhatItContinues() {
        let events = (5...7).map { QueueEvent(seq: $0, at: Timestamp(seconds: Double($0)), change: .opened) }
        func after(_ seq: UInt64, _ second: Double, previous: Timestamp? = Timestamp(seconds: 4)) -> [UInt64]? {
            BusMessage(queue: QueueID(high: 1, low: 1), epoch: 1, head: 7, previous: previous, events: events)
                .events(after: LogPosition(seq: seq, at: Timestamp(seconds: second)))?.map(\.seq)
        }
        #expect(after(4, 4) == [5, 6, 7] && after(6, 6) == [7] && after(7, 7) == [])
        #expect(after(4, 5) == nil && after(6, 5) == nil && after(3, 3) == nil && after(8, 8) == nil)
        #expect(after(4, 4, previous: nil) == nil && after(5, 5, previous: nil) == [6, 7])
    }

    /// Where nothing comes of it within a second the next one releases, and the one after that a second later.
    @Test func aTickWhoseHolderIsGoneMoves() async throws {
        let instances = try await Instances(count: 1)
        let service = instances.services[0]
        let queue = try await instances.makeQueue(QueueConfiguration(releaseRatePerMinute: 600))
        _ = try await join(service, queue, count: 50)
        let hosted = try #require(await service.hosted[queue])
        let due = try #require(hosted.nextWake(after: hosted.state.lastEventAt, turn: 0))
        for turn in 0...2 {
            let moment = due + .seconds(turn)
            #expect(hosted.nextWake(after: moment, turn: turn)! <= moment)
            #expect(hosted.nextWake(after: moment - .milliseconds(50), turn: turn)! >= moment)
        }
    }

    @Test func everyQueueIsSomebodysFirst() {
        var random = SeededRandom(seed: TestSeed.value)
        let all = (0..<5).map { _ in InstanceID(high: random.next(), low: random.next()) }
        var firsts: [InstanceID: Int] = [:]
        for _ in 0..<1_000 {
            let queue = QueueID(high: random.next(), low: random.next())
            let turns = all.map { one in Peers(live: all.filter { $0 != one }).turn(of: one, for: queue) }
            #expect(turns.sorted() == Array(0..<5))
            firsts[all[turns.firstIndex(of: 0)!], default: 0] += 1
        }
        #expect(firsts.values.allSatisfy { (100...300).contains($0) })
    }
}
