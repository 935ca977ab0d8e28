import EventLoop
import Glibc
import QueueEngine
import Testing
import TestSupport

@testable import QueueService
@testable import Server

/// What becomes of a connection whose visitor has shown up at another instance since.
@Suite struct MovedTicketTests {
    enum Older: CaseIterable {
        /// It is open, and older than the one there.
        case open
        /// A close frame has gone, and the connection's end is still to come.
        case closing
    }

    /// A queue with two places, and what the loop makes of it.
    private func withLoop(
        _ body:
            @Sendable (
                _ service: QueueService, _ moved: Ticket, _ other: Ticket, _ onLoop: (@escaping @Sendable (LiveQueue) -> Void) -> Void
            ) async throws -> Void
    ) async throws {
        let group = try EventLoopGroup(count: 1)
        defer { group.stop() }
        let loop = group.loops[0]
        let home = try await TestStore(.sqlite)
        let core = try await TellingTests.core(home, on: loop)
        let (service, tenant) = (core.service, TenantID(high: 7, low: 7))
        try await core.store.insert(Tenant(id: tenant, name: "t"))
        try await service.start()
        let id = try await service.create(tenant: tenant) { $0.configuration = QueueConfiguration(releaseRatePerMinute: 0) }.record.id
        // Each is held by one connection, the moved one by the newer.
        let moved = try await service.join(id, visitor: Visitor(), holder: .connection).session.ticket
        let other = try await service.join(id, visitor: Visitor(), holder: .connection).session.ticket
        let snapshot = try await service.queue(id)
        try await body(service, moved, other) { change in
            loop.execute {
                let live = LiveLoop(loop: loop, server: core, router: core.makeRouter())
                // As in the server it outlives the loop, which may sweep once more after the test.
                _ = Unmanaged.passRetained(live)
                live.apply(QueueUpdate(snapshot: snapshot, events: [], announcements: []))
                change(live.queues[id]!)
            }
        }
    }

    /// The service has forgotten the connection, and the visitor has come back here over another one: the end of the older
    /// one must not count as the end of that.
    @Test(arguments: Older.allCases) func endOfOlderConnectionLeavesTheNewerOneHolding(_ older: Older) async throws {
        try await withLoop { service, moved, other, onLoop in
            onLoop { queue in
                let visitor = MovedTicketTests.visitor(moved, in: queue)
                if case .closing = older { visitor.end(.slowConsumer) }
                MovedTicketTests.move(moved, in: queue, secondsAgo: 0)
                #expect(visitor.phase == .over)
                visitor.connection.close()
                // Both ends reach the service together.
                MovedTicketTests.visitor(other, in: queue).connection.close()
            }
            let id = await service.snapshots[0].record.id
            #expect(await eventually { (try? await service.queue(id).state.isAbsent(other)) == true })
            let state = try await service.queue(id).state
            #expect(!state.isAbsent(moved))
        }
    }

    /// The connection elsewhere is the older one, though word of it comes late: this one stays, and says since when it is there.
    @Test func newerConnectionStays() async throws {
        try await withLoop { service, moved, _, onLoop in
            let id = await service.snapshots[0].record.id
            await service.closed(id, [moved])
            #expect(await eventually { (try? await service.queue(id).state.isAbsent(moved)) == true })
            let before = await service.clock.now()
            onLoop { queue in
                let visitor = MovedTicketTests.visitor(moved, in: queue)
                MovedTicketTests.move(moved, in: queue, secondsAgo: 20)
                #expect(visitor.phase == .waiting)
            }
            #expect(
                await eventually {
                    let entries = try? await service.store.entries(of: id, after: 0, limit: 100)
                    return entries?.contains {
                        if case .connected(let arrivals) = $0.event.change { arrivals[0].since! < before - .seconds(5) } else { false }
                    } == true
                })
        }
    }

    /// Of two at one moment one stays, and not both for ever.
    @Test func connectionOfTheSameMomentGivesWayToTheOneThatIsToldOfLast() async throws {
        try await withLoop { service, moved, _, onLoop in
            let id = await service.snapshots[0].record.id
            onLoop { queue in
                let visitor = MovedTicketTests.visitor(moved, in: queue)
                let update = QueueUpdate(
                    snapshot: queue.snapshot, events: [], announcements: [], movedAway: [(moved, visitor.cameAt)])
                queue.apply(update)
                #expect(visitor.phase == .over)
                visitor.connection.close()
                MovedTicketTests.visitor(moved, in: queue).connection.close()
            }
            #expect(await eventually { (try? await service.queue(id).state.isAbsent(moved)) == true })
        }
    }

    /// Word comes that another instance sees the visitor since then.
    private static func move(_ ticket: Ticket, in queue: LiveQueue, secondsAgo: Int) {
        let moment = queue.live.server.clock.now() - .seconds(secondsAgo)
        queue.apply(QueueUpdate(snapshot: queue.snapshot, events: [], announcements: [], movedAway: [(ticket, moment)]))
    }

    /// Somebody who waits in the queue, over a connection that holds the ticket for ten seconds already.
    private static func visitor(_ ticket: Ticket, in queue: LiveQueue) -> LiveVisitor {
        let live = queue.live
        var pair: [Int32] = [0, 0]
        precondition(socketpair(AF_UNIX, Int32(SOCK_STREAM.rawValue | SOCK_NONBLOCK.rawValue), 0, &pair) == 0)
        close(pair[1])
        let visitor = LiveVisitor(live: live, connection: Connection(loop: live.loop, owning: Descriptor(owning: pair[0])), deflate: nil)
        visitor.connection.handler = visitor
        (visitor.ticket, visitor.queue, visitor.phase, visitor.holdsTicket) = (ticket, queue, .waiting, true)
        visitor.serial = live.server.nextSerial()
        visitor.cameAt = live.server.clock.now() - .seconds(10)
        queue.add(visitor)
        return visitor
    }
}
