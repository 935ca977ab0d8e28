import Locks
import QueueEngine
import Testing
import TestSupport

@testable import QueueService

/// Who counts as present is somebody whom an instance sees, whatever messages are lost and whichever instances die.
@Suite struct HoldersTests {
    private static let lease = Timestamp.Span.seconds(5)

    private func makeQueue(_ instances: Instances) async throws -> QueueID {
        try await instances.makeQueue(QueueConfiguration(releaseRatePerMinute: 0, graceSeconds: 600))
    }

    /// The store goes away, and all instances know.
    private func beginOutage(_ instances: Instances) async {
        for store in instances.faultyStores { store.before { _ throws(StoreError) in throw .unavailable("away") } }
        for service in instances.services { await service.beat() }
    }

    /// Lets `survivor` renew its lease, and learn nothing by that, until it has seen to whom `instance` held.
    private func hasLeaseRemoved(_ instance: QueueService, by survivor: QueueService, _ instances: Instances) async throws -> Bool {
        try await eventually {
            _ = await survivor.renewLease()
            let asker = InstanceID(high: 0, low: 1)
            let beat = try await instances.store.beat(
                asker, lease: .seconds(1), capacity: nil, after: .none, known: [])
            try await instances.store.endLease(asker)
            return !beat.peers.contains { $0.id == instance.instance }
        }
    }

    /// An instance ends right behind its last commits, and word of them is lost.
    @Test(arguments: StoreKind.allCases) func whoeverCameToDyingInstanceLastIsMarkedAbsent(_ kind: StoreKind) async throws {
        let instances = try await Instances(kind, count: 2, lease: HoldersTests.lease)
        let (dying, survivor) = (instances.services[0], instances.services[1])
        let queue = try await makeQueue(instances)
        instances.bus.lose(percent: 100)
        for _ in 0..<5 { _ = try await dying.join(queue, visitor: Visitor(), holder: .connection) }
        #expect(try await survivor.queue(queue).state.waitingCount == 0)
        try await instances.store.endLease(dying.instance)
        #expect(try await hasLeaseRemoved(dying, by: survivor, instances))
        await survivor.beat()
        #expect(try await survivor.queue(queue).state.absentCount == 5)
    }

    /// Somebody polls at two instances, of which one dies: the other is known to see them, and looked at when it dies.
    @Test(arguments: StoreKind.allCases) func survivorTakesOverWhoeverPollsThereToo(_ kind: StoreKind) async throws {
        let instances = try await Instances(kind, count: 2, lease: HoldersTests.lease)
        let (dying, survivor) = (instances.services[0], instances.services[1])
        let queue = try await makeQueue(instances)
        let ticket = try await dying.join(queue, visitor: Visitor(), holder: .polls).session.ticket
        #expect(await eventually { (try? await survivor.queue(queue).state.isWaiting(ticket)) == true })
        await survivor.poll(queue, ticket)
        #expect(await eventually { await survivor.hosted[queue]?.presence.holds(ticket) == true })
        try await instances.store.endLease(dying.instance)
        #expect(try await hasLeaseRemoved(dying, by: survivor, instances))
        #expect(try await instances.store.held(by: survivor.instance, in: queue) == [ticket])
        #expect(try await !survivor.queue(queue).state.isAbsent(ticket))
    }

    /// A connection has opened, and before that is committed it is known that another instance has taken the ticket over:
    /// the connection is let go, and counted no more.
    @Test func openingBeforeTakeoverIsNotCounted() async throws {
        let instances = try await Instances(count: 2)
        let (one, other) = (instances.services[0], instances.services[1])
        let queue = try await makeQueue(instances)
        let session = try await one.join(queue, visitor: Visitor(), holder: .connection).session
        #expect(await eventually { (try? await other.queue(queue).state.isWaiting(session.ticket)) == true })
        instances.bus.lose(percent: 100)
        _ = try await other.resume(queue, session.ticket, of: session.id)
        #expect(try await eventually { try await instances.store.held(by: other.instance, in: queue) == [session.ticket] })
        await one.hold(queue)
        await one.opened(queue, [session.ticket])
        await one.beat()
        await one.goOn(in: queue)
        // What waits is decided with it.
        _ = try await one.join(queue, visitor: Visitor(), holder: .connection)
        #expect(try await instances.store.held(by: other.instance, in: queue) == [session.ticket])
        await other.beat()
        await other.closed(queue, [session.ticket])
        #expect(try await eventually { try await instances.store.held(by: other.instance, in: queue) == [] })
        await one.beat()
        #expect(try await one.queue(queue).state.isAbsent(session.ticket))
    }

    /// An instance says that it sees somebody, and the answer to that is lost: what it reads in the log then is its own word, and
    /// the connection stays its own.
    @Test(arguments: [StoreKind.model, .postgres]) func ownWordWhoseAnswerWasLostMovesNobodyAway(_ kind: StoreKind) async throws {
        let instances = try await Instances(kind, count: 2, store: FaultyStore.init)
        let (one, other, store) = (instances.services[0], instances.services[1], instances.faultyStores[0])
        let queue = try await makeQueue(instances)
        let ticket = try await one.join(queue, visitor: Visitor(), holder: .connection).session.ticket
        #expect(await eventually { (try? await other.queue(queue).state.isWaiting(ticket)) == true })
        store.after { call throws(StoreError) in if call == .append { throw .inDoubt("the answer is lost") } }
        // The other one takes the visitor for gone, and the one that sees the visitor contradicts.
        try await other.perform(on: queue) { decision throws(ServiceError) in try decision.markAbsent([ticket]) }
        #expect(await eventually { await one.outage != nil })
        store.after { _ in }
        #expect(
            await eventually {
                await one.beat()
                return await one.outage == nil
            })
        await one.catchUp(queue)
        #expect(await one.hosted[queue]?.presence.holds(ticket) == true)
        await one.closed(queue, [ticket])
        #expect(try await eventually(within: 60) { try await other.queue(queue).state.isAbsent(ticket) })
    }

    /// While the store is away a visitor goes to another instance and comes back, and both instances learn of each other only
    /// afterwards: whichever commits first, the visitor's last connection is the one that stays.
    @Test(arguments: [0, 1], [false, true]) func outageMakesNoOlderConnectionTheNewerOne(first: Int, isHalfDead: Bool) async throws {
        let instances = try await Instances(count: 2, store: FaultyStore.init)
        let (one, other) = (instances.services[0], instances.services[1])
        let queue = try await makeQueue(instances)
        let session = try await one.join(queue, visitor: Visitor(), holder: .connection).session
        let ticket = session.ticket
        #expect(await eventually { (try? await other.queue(queue).state.isWaiting(ticket)) == true })
        let moves = [Moves(), Moves()]
        for (service, moves) in zip(instances.services, moves) { await service.observe(moves) }
        await beginOutage(instances)

        await one.closed(queue, [ticket])
        instances.clock.advance(.seconds(2))
        _ = try await other.resume(queue, ticket, of: session.id)
        let cameToOther = instances.clock.now()
        if !isHalfDead { await other.closed(queue, [ticket]) }
        instances.clock.advance(.seconds(2))
        _ = try await one.resume(queue, ticket, of: session.id)
        let cameBack = instances.clock.now()
        instances.clock.advance(.seconds(2))

        for index in [first, 1 - first] {
            instances.faultyStores[index].before { _ in }
            await instances.services[index].beat()
            #expect(await eventually { await !instances.services[index].isCommitting })
        }
        #expect(await eventually { !moves[0].all.isEmpty })
        // As a loop does with a connection that is newer than the one elsewhere.
        #expect(moves[0].all.allSatisfy { $0 == cameToOther && $0 < cameBack })
        try await one.stayed(queue, in: one.queue(queue).record.epoch, [(ticket, cameBack)])
        #expect(try await eventually { try await instances.store.held(by: one.instance, in: queue) == [ticket] })
        #expect(await eventually { await other.hosted[queue]?.presence.holds(ticket) == false })
        // The store has it before the one that has written it knows so.
        #expect(try await eventually { try await !one.queue(queue).state.isAbsent(ticket) })
    }

    /// While the store is away a visitor goes to another instance, loses that connection and polls here again: word of the
    /// connection, which comes afterwards, is older than the poll.
    @Test func olderConnectionElsewhereEndsNoPolling() async throws {
        let instances = try await Instances(count: 2, store: FaultyStore.init)
        let (one, other) = (instances.services[0], instances.services[1])
        let queue = try await makeQueue(instances)
        let session = try await one.join(queue, visitor: Visitor(), holder: .polls).session
        let ticket = session.ticket
        #expect(await eventually { (try? await other.queue(queue).state.isWaiting(ticket)) == true })
        await beginOutage(instances)
        _ = try await other.resume(queue, ticket, of: session.id)
        await other.closed(queue, [ticket])
        instances.clock.advance(.seconds(3))
        _ = try await one.poll(queue, ticket, of: session.id)
        for (service, store) in zip(instances.services, instances.faultyStores) {
            store.before { _ in }
            await service.beat()
        }
        #expect(try await eventually { try await other.queue(queue).state.head > 2 })
        #expect(try await eventually(within: 60) { try await instances.store.held(by: one.instance, in: queue) == [ticket] })
        #expect(await one.hosted[queue]?.presence.holds(ticket) == true)
    }

    /// Somebody polls here, who counts as present by a connection elsewhere, and then opens one here: the other one is told.
    @Test func connectionBesidePollsReplacesTheOneElsewhere() async throws {
        let instances = try await Instances(count: 2)
        let (one, other) = (instances.services[0], instances.services[1])
        let queue = try await makeQueue(instances)
        let session = try await other.join(queue, visitor: Visitor(), holder: .connection).session
        #expect(await eventually { (try? await one.queue(queue).state.isWaiting(session.ticket)) == true })
        let moves = Moves()
        await other.observe(moves)
        _ = try await one.poll(queue, session.ticket, of: session.id)
        #expect(await eventually { await one.hosted[queue]?.presence.polls(session.ticket) == true })
        instances.clock.advance(.seconds(1))
        _ = try await one.resume(queue, session.ticket, of: session.id)
        #expect(await eventually { moves.all == [instances.clock.now()] })
        #expect(try await instances.store.held(by: one.instance, in: queue) == [session.ticket])
        // And the end of that connection is not the end of the polls.
        await one.closed(queue, [session.ticket])
        #expect(await eventually { await one.hosted[queue]?.presence.holders(of: session.ticket) == 1 })
        #expect(try await eventually { try await !one.queue(queue).state.isAbsent(session.ticket) })
    }

    /// A connection ends of which the service has just forgotten that it counts, because there was one elsewhere: whoever goes on
    /// polling here stays present.
    @Test func endOfForgottenConnectionEndsNoPolling() async throws {
        let instances = try await Instances(count: 2)
        let (one, other) = (instances.services[0], instances.services[1])
        let queue = try await makeQueue(instances)
        let session = try await one.join(queue, visitor: Visitor(), holder: .connection).session
        #expect(await eventually { (try? await other.queue(queue).state.isWaiting(session.ticket)) == true })
        let earlier = instances.clock.now()
        instances.clock.advance(.seconds(5))
        _ = try await one.poll(queue, session.ticket, of: session.id)
        #expect(await eventually { await one.hosted[queue]?.presence.holders(of: session.ticket) == 2 })
        _ = try await other.resume(queue, session.ticket, of: session.id, at: earlier)
        #expect(await eventually { await one.hosted[queue]?.presence.holders(of: session.ticket) == 1 })
        await one.closed(queue, [session.ticket])
        _ = try await one.poll(queue, session.ticket, of: session.id)
        #expect(await eventually { await !one.isCommitting })
        #expect(await eventually { await one.hosted[queue]?.presence.holds(session.ticket) == true })
        #expect(try await eventually { try await !one.queue(queue).state.isAbsent(session.ticket) })
    }

    /// A loop says of a connection that it has ended, or that it stays, when it has not heard yet that the holders were forgotten:
    /// that changes nothing for the connections that say so afterwards, on this loop or another one.
    @Test func wordFromBeforeHoldersWereForgottenDoesNotCount() async throws {
        let instances = try await Instances(count: 2)
        let (one, other) = (instances.services[0], instances.services[1])
        let queue = try await makeQueue(instances)
        let session = try await one.join(queue, visitor: Visitor(), holder: .connection).session
        let ticket = session.ticket
        #expect(await eventually { (try? await other.queue(queue).state.isWaiting(ticket)) == true })
        let earlier = instances.clock.now()
        instances.clock.advance(.seconds(5))
        let before = try await one.queue(queue)
        _ = try await other.resume(queue, ticket, of: session.id, at: earlier)
        #expect(await eventually { await one.hosted[queue]?.presence.holds(ticket) == false })
        let after = try await one.queue(queue)
        #expect(after.state.head > before.state.head)

        let (epoch, stays) = (after.record.epoch, [(ticket: ticket, at: instances.clock.now())])
        await one.stayed(queue, in: epoch, asOf: before.state.head, stays)
        await one.stayed(queue, in: epoch, asOf: after.state.head, stays)
        #expect(await eventually { await one.hosted[queue]?.presence.holders(of: ticket) == 1 })
        await one.closed(queue, in: epoch, asOf: before.state.head, [ticket])
        #expect(await eventually { await !one.isCommitting })
        #expect(await one.hosted[queue]?.presence.holders(of: ticket) == 1)
        await one.closed(queue, in: epoch, asOf: after.state.head, [ticket])
        #expect(await eventually { await one.hosted[queue]?.presence.holds(ticket) == false })
    }

    /// When others are said to have taken somebody over.
    private final class Moves: QueueObserver {
        private let moments = Lock<[Timestamp]>([])
        var all: [Timestamp] { moments.withLock { $0 } }
        func queueChanged(_ update: QueueUpdate) { moments.withLock { $0 += update.movedAway.map(\.at) } }
        func queueRemoved(_ queue: QueueID) {}
        func stalenessChanged(_ since: Timestamp?) {}
    }

    /// A join whose answer was lost is carried out after the queue has been put to rest.
    @Test func doubtfulPlaceInQueueAtRestIsMarkedAbsent() async throws {
        let instances = try await Instances(count: 2)
        let (one, other) = (instances.services[0], instances.services[1])
        instances.bus.lose(percent: 100)
        let queue = try await one.create(tenant: instances.tenant) { $0.configuration = QueueConfiguration(releaseRatePerMinute: 0) }
            .record.id
        let session = try await one.join(queue, visitor: Visitor(), holder: .connection).session
        #expect(await other.hosted[queue] == nil)
        await other.doubt(session)
        await other.settleDoubts()
        #expect(try await eventually { try await instances.store.held(by: one.instance, in: queue) == [] })
    }
}

extension QueueService {
    fileprivate func hold(_ queue: QueueID) { backlog.block(queue) }

    fileprivate func doubt(_ session: SessionRecord) {
        doubtful.append(
            DoubtfulJoin(queue: session.queue, session: session.id, ticket: session.ticket, until: clock.now() + DoubtfulJoin.patience))
    }
}
