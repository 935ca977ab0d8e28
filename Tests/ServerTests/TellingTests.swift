import EventLoop
import Fanout
import Foundation
import Locks
import Logging
import QueueEngine
import Telemetry
import Testing
import TestSupport

@testable import QueueService
@testable import Server

/// What a crowd is told at once.
@Suite struct TellingTests {
    private static let crowd = 2_000

    static func core(_ home: TestStore, on loop: EventLoop) async throws -> ServerCore {
        let store = try await home.open(on: loop)
        let bootstrap = Bootstrap(store: store, random: SystemRandom(), now: Timestamp(seconds: 1_700_000_000))
        let secrets = try await bootstrap.secrets(issuer: "i")
        let log = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
        let service = QueueService(
            executor: LoopSerialExecutor(loop), store: store, bus: InProcessBus(), clock: SystemClock(loop: loop), random: SystemRandom(),
            log: log)
        return try ServerCore(
            settings: ServerSettings(), store: store, service: service, clock: SystemClock(loop: loop), measurements: Measurements(),
            slow: nil,
            secrets: SecretRing(secrets) { secrets }, log: log)
    }

    /// A queue on one loop with a crowd in it, and the other ends of their connections.
    private static func queue(on live: LiveLoop, crowd: Int = crowd) -> (queue: LiveQueue, peers: [Int32]) {
        let record = QueueRecord(
            id: QueueID(high: 1, low: 1), tenant: TenantID(high: 1, low: 1), epoch: 1, slug: "q", name: "",
            configuration: QueueConfiguration(), createdAt: Timestamp(seconds: 1))
        let snapshot = QueueSnapshot(record: record, state: QueueState(), at: Timestamp(seconds: 1))
        let queue = LiveQueue(live: live, QueueUpdate(snapshot: snapshot, events: [], announcements: []))
        let peers = (1...crowd).map { number in
            var pair: [Int32] = [0, 0]
            precondition(socketpair(AF_UNIX, Int32(SOCK_STREAM.rawValue | SOCK_NONBLOCK.rawValue), 0, &pair) == 0)
            let visitor = LiveVisitor(
                live: live, connection: Connection(loop: live.loop, owning: Descriptor(owning: pair[0])), deflate: nil)
            visitor.ticket = Ticket(lane: 0, number: UInt64(number))
            visitor.phase = .waiting
            visitor.serial = live.server.nextSerial()
            queue.add(visitor)
            return pair[1]
        }
        return (queue, peers)
    }

    /// An announcement to a crowd takes several turns of the loop, and everybody gets it.
    @Test func crowdIsToldInSlicesAndTheLoopsOthersHaveTheirTurns() async throws {
        _ = EventLoopGroup.raiseDescriptorLimit()
        let group = try EventLoopGroup(count: 1)
        defer { group.stop() }
        let loop = group.loops[0]
        let home = try await TestStore(.sqlite)
        let core = try await TellingTests.core(home, on: loop)
        let told = Lock<(turns: Int, peers: [Int32]?)>((0, nil))
        loop.execute {
            let live = LiveLoop(loop: loop, server: core, router: core.makeRouter())
            let (queue, peers) = TellingTests.queue(on: live)
            let announcement = Announcement(
                seq: 7, text: "Hello.", severity: .info, publishedAt: Timestamp(seconds: 1), expiresAt: nil)
            queue.tell([.announcement(announcement)])
            // Something else that the loop has to do, turn after turn.
            func turn() {
                guard queue.telling.isUnderWay else { return told.withLock { $0.peers = peers } }
                told.withLock { $0.turns += 1 }
                loop.defer(turn)
            }
            turn()
        }
        #expect(await eventually { told.withLock { $0.peers } != nil })
        let (turns, peers) = told.withLock { $0 }
        // A slice is a millisecond, and a frame costs a call to the system.
        #expect(turns > 1)
        for peer in peers ?? [] {
            var bytes = [UInt8](repeating: 0, count: 1_024)
            let count = recv(peer, &bytes, bytes.count, 0)
            #expect(count > 0 && String(decoding: bytes[..<max(0, count)], as: UTF8.self).contains("Hello."))
            close(peer)
        }
    }

    /// The store refuses the changes of one queue: its visitors are told once, and once that they are shown what is true again.
    @Test func visitorsOfQueueThatCannotBeWrittenAreTold() async throws {
        let group = try EventLoopGroup(count: 1)
        defer { group.stop() }
        let loop = group.loops[0]
        let home = try await TestStore(.sqlite)
        let core = try await TellingTests.core(home, on: loop)
        let told = Lock<[String]?>(nil)
        loop.execute {
            let live = LiveLoop(loop: loop, server: core, router: core.makeRouter())
            let (queue, peers) = TellingTests.queue(on: live, crowd: 1)
            func become(staleSince: Timestamp?) -> String {
                let snapshot = QueueSnapshot(
                    record: queue.snapshot.record, state: QueueState(), at: Timestamp(seconds: 2), staleSince: staleSince)
                queue.apply(QueueUpdate(snapshot: snapshot, events: [], announcements: []))
                var bytes = [UInt8](repeating: 0, count: 1_024)
                let count = recv(peers[0], &bytes, bytes.count, 0)
                return String(decoding: bytes[..<max(0, count)], as: UTF8.self)
            }
            let since = Timestamp(seconds: 1)
            told.withLock { $0 = [become(staleSince: since), become(staleSince: since), become(staleSince: nil)] }
            close(peers[0])
        }
        #expect(await eventually { told.withLock { $0 } != nil })
        let frames = try #require(told.withLock { $0 })
        #expect(frames[0].contains(#""state":"stale""#) && frames[1].isEmpty && frames[2].contains(#""state":"live""#), "\(frames)")
    }
}
