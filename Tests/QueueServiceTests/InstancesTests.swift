import Foundation
import Locks
import QueueEngine
import Testing
import TestSupport

@testable import QueueService

@Suite struct InstancesTests {
    /// Two services do random things to one queue at the same time, over a bus that loses a third of what it is given.
    @Test(arguments: StoreKind.allCases) func twoInstancesAgreeWithTheStore(_ kind: StoreKind) async throws {
        let instances = try await Instances(kind, count: 2)
        let queue = try await instances.makeQueue(
            QueueConfiguration(maxConcurrentUsers: 15, releaseRatePerMinute: 300, graceSeconds: 20, admissionTTLSeconds: 30))
        instances.bus.lose(percent: 33)
        await instances.whileTimePasses {
            await withTaskGroup { group in
                for worker in 0..<6 {
                    let service = instances.services[worker % 2]
                    group.addTask { await InstancesTests.live(service, queue, instances, seed: TestSeed.value &+ UInt64(worker)) }
                }
            }
        }
        #expect(try await instances.converge(queue))
        try await InstancesTests.checkLog(instances, queue)
    }

    static func live(_ service: QueueService, _ queue: QueueID, _ instances: Instances, seed: UInt64) async {
        var random = SeededRandom(seed: seed)
        var mine: [(SessionID, Ticket)] = []
        for _ in 0..<60 {
            let known = mine.randomElement(using: &random)
            switch Int.random(in: 0..<10, using: &random) {
            case 0..<4:
                let user = random.chance(30) ? "user\(Int.random(in: 0..<10, using: &random))" : nil
                if let joined = try? await service.join(
                    queue, visitor: Visitor(user: user), holder: random.chance(50) ? .connection : .polls)
                {
                    mine.append((joined.session.id, joined.session.ticket))
                }
            case 4: if let known { await service.closed(queue, [known.1]) }
            case 5: if let known { _ = try? await service.resume(queue, known.1, of: SessionID(high: 0, low: 0)) }
            case 6: if let known { _ = try? await service.complete(known.0, tenant: instances.tenant) }
            case 7: if let known { try? await service.leave(queue, known.1) }
            case 8: _ = try? await service.announce("x", severity: .info, expiresAt: nil, to: queue, tenant: instances.tenant)
            default: instances.clock.advance(.milliseconds(Int.random(in: 10...1_500, using: &random)))
            }
        }
    }

    /// The log's invariants, read from the store.
    static func checkLog(_ instances: Instances, _ queue: QueueID) async throws {
        let entries = try await instances.store.entries(of: queue, after: 0, limit: 100_000)
        #expect(entries.map(\.event.seq) == (1...UInt64(entries.count)).map { $0 })
        var state = QueueState()
        for entry in entries { state.apply(entry.event) }  // Traps where a session would have two states.
        let truth = try await instances.store.loadQueue(queue)
        #expect(truth.map { QueueState($0.image) } == state)
        let admissions = entries.compactMap { entry -> Timestamp? in if case .admitted = entry.event.change { entry.event.at } else { nil }
        }
        for admission in admissions { #expect(admissions.filter { $0 <= admission && $0 >= admission - .seconds(60) }.count <= 300) }
    }

    /// An integrator's call may come to an instance that has not heard yet that the visitor was let in.
    @Test(arguments: StoreKind.allCases) func admissionIsCompletedAtAnInstanceThatLagsBehind(_ kind: StoreKind) async throws {
        let instances = try await Instances(kind, count: 2)
        let (fast, slow) = (instances.services[0], instances.services[1])
        let queue = try await instances.makeQueue(QueueConfiguration(maxConcurrentUsers: 1, releaseRatePerMinute: 6_000))
        let first = try await fast.join(queue, visitor: Visitor(), holder: .connection).session
        let second = try await fast.join(queue, visitor: Visitor(), holder: .connection).session
        #expect(await eventually { (try? await slow.queue(queue))?.state.head == (try? await fast.queue(queue))?.state.head })
        instances.bus.lose(percent: 100)
        _ = try await fast.complete(first.id, tenant: instances.tenant)
        let isAdmitted = try await eventually {
            instances.clock.advance(.milliseconds(100))
            return try await fast.session(second.id).status == .admitted
        }
        #expect(isAdmitted)
        #expect(try await slow.complete(second.id, tenant: instances.tenant).status == .completed)
        // Of this one the instance has not even heard that it came.
        let third = try await fast.join(queue, visitor: Visitor(), holder: .connection).session
        #expect(try await fast.session(third.id).status == .admitted)
        #expect(try await slow.complete(third.id, tenant: instances.tenant).status == .completed)
    }

    /// Who lost a race and finds that there is nothing to say any more does not keep the others waiting.
    @Test func whatIsKeptIsGivenBack() async throws {
        let instances = try await Instances(.postgres, count: 2)
        let queue = try await instances.makeQueue(QueueConfiguration(releaseRatePerMinute: 0))
        let (fast, slow) = (instances.services[0], instances.services[1])
        let ticket = try await fast.join(queue, visitor: Visitor(), holder: .polls).session.ticket
        #expect(await eventually { (try? await slow.queue(queue))?.state.head == (try? await fast.queue(queue))?.state.head })
        instances.bus.lose(percent: 100)
        try await fast.leave(queue, ticket)
        instances.bus.lose(percent: 0)
        await #expect(throws: ServiceError.self) { try await slow.leave(queue, ticket) }
        // No time passes: were it kept, nobody would get on.
        let joined = Lock(false)
        let joining = Task {
            _ = try await fast.join(queue, visitor: Visitor(), holder: .polls)
            joined.withLock { $0 = true }
        }
        #expect(await eventually { joined.withLock { $0 } })
        instances.clock.advance(.seconds(1))
        try await joining.value
    }

    /// What time brings is asked of the store once, however long that takes.
    @Test func aSlowStoreIsAskedOnce() async throws {
        let instances = try await Instances(.postgres, count: 1)
        let queue = try await instances.makeQueue(QueueConfiguration(releaseRatePerMinute: 60))
        let service = instances.services[0]
        for _ in 0..<2 { _ = try await service.join(queue, visitor: Visitor(), holder: .connection) }
        let folder = TemporaryFolder()
        try instances.home.lock("log", while: folder.file("locked"))
        #expect(await eventually { FileManager.default.fileExists(atPath: folder.file("locked")) })
        for _ in 0..<50 {
            instances.clock.advance(.milliseconds(100))
            try await Task.sleep(for: .milliseconds(1))
        }
        #expect(await service.pendingCount <= 1)
        try FileManager.default.removeItem(atPath: folder.file("locked"))
        // On a busy machine the lock may have lasted longer than a commit may take: then a heartbeat finds the store back.
        #expect(
            await eventually {
                instances.clock.advance(.milliseconds(50))
                return (try? await service.queue(queue))?.state.admitted.count == 2
            })
    }

    /// Nor is a queue that is left to another instance asked for again and again; and it is not forgotten.
    @Test func whatIsLeftToAnotherIsNotTriedMeanwhile() async throws {
        let instances = try await Instances(count: 1)
        let queue = try await instances.makeQueue(QueueConfiguration(releaseRatePerMinute: 60))
        let service = instances.services[0]
        for _ in 0..<2 { _ = try await service.join(queue, visitor: Visitor(), holder: .connection) }
        await service.leave(queueToAnother: queue)
        for _ in 0..<50 {
            instances.clock.advance(.milliseconds(100))
            try await Task.sleep(for: .milliseconds(1))
        }
        #expect(await service.pendingCount <= 1)
        await service.goOn(in: queue)
        #expect(await eventually { (try? await service.queue(queue))?.state.admitted.count == 2 })
    }

    @Test(arguments: StoreKind.allCases) func onePlaceAPersonHoweverManyAsk(_ kind: StoreKind) async throws {
        let instances = try await Instances(kind, count: 2)
        let queue = try await instances.makeQueue(QueueConfiguration(releaseRatePerMinute: 0))
        let sessions = try await withThrowingTaskGroup { group in
            for number in 0..<40 {
                group.addTask {
                    try await instances.services[number % 2].join(queue, visitor: Visitor(user: "ann"), holder: .polls).session.id
                }
            }
            return try await group.reduce(into: Set<SessionID>()) { $0.insert($1) }
        }
        #expect(sessions.count == 1)
        #expect(
            try await instances.services[0].sessions(tenant: instances.tenant, queue: queue, status: nil, after: nil, limit: 200).items
                .count == 1)
    }

    /// Closed and opened again at once, at another instance: everyone can come back under the same name.
    @Test(arguments: StoreKind.allCases) func whoWasSentAwayMayComeAgain(_ kind: StoreKind) async throws {
        let instances = try await Instances(kind, count: 2)
        let (one, other) = (instances.services[0], instances.services[1])
        let queue = try await instances.makeQueue(QueueConfiguration(releaseRatePerMinute: 0))
        for round in 0..<3 {
            for number in 0..<20 {
                let joined = try await one.join(queue, visitor: Visitor(user: "u\(number)"), holder: .connection)
                #expect(joined.session.ticket.number == UInt64(20 * round + number + 1))
            }
            _ = try await one.perform(.close, on: queue, tenant: instances.tenant)
            #expect(await eventually { (try? await other.queue(queue).state.status) == .closed })
            _ = try await other.perform(.open, on: queue, tenant: instances.tenant)
            #expect(await eventually { (try? await one.queue(queue).state.status) == .open })
        }
        #expect(try await instances.converge(queue))
    }

    @Test(arguments: StoreKind.allCases) func aWriteWithAKeyIsDoneOnce(_ kind: StoreKind) async throws {
        let instances = try await Instances(kind, count: 2)
        let queue = try await instances.makeQueue(QueueConfiguration(releaseRatePerMinute: 0))
        let once = WriteOnce(tenant: instances.tenant, key: "k", requestHash: [1])
        let sessions = try await withThrowingTaskGroup { group in
            for number in 0..<20 {
                group.addTask {
                    try await instances.services[number % 2].join(queue, visitor: Visitor(), holder: .polls, once: once).session.id
                }
            }
            return try await group.reduce(into: Set<SessionID>()) { $0.insert($1) }
        }
        #expect(sessions.count == 1)
        await #expect(throws: ServiceError.keyReused) {
            try await instances.services[0].join(
                queue, visitor: Visitor(), holder: .polls, once: WriteOnce(tenant: instances.tenant, key: "k", requestHash: [2]))
        }
    }

    @Test(arguments: StoreKind.allCases) func aQueueOfAnotherTenantDoesNotExist(_ kind: StoreKind) async throws {
        let instances = try await Instances(kind, count: 1)
        let queue = try await instances.makeQueue(QueueConfiguration())
        let stranger = TenantID(high: 9, low: 9)
        await #expect(throws: ServiceError.noSuchQueue) { try await instances.services[0].queue(queue, tenant: stranger) }
        await #expect(throws: ServiceError.noSuchQueue) { try await instances.services[0].perform(.close, on: queue, tenant: stranger) }
        await #expect(throws: ServiceError.noSuchQueue) {
            try await instances.services[0].entries(of: queue, tenant: stranger, after: 0, epoch: nil)
        }
        #expect(try await instances.services[0].sessions(tenant: stranger, queue: nil, status: nil, after: nil, limit: 10).items.isEmpty)
    }

    @Test(arguments: StoreKind.allCases) func aReaderOfAnotherLogIsToldSo(_ kind: StoreKind) async throws {
        let instances = try await Instances(kind, count: 1)
        let service = instances.services[0]
        let queue = try await instances.makeQueue(QueueConfiguration())
        let epoch = try await service.queue(queue).record.epoch
        #expect(try await service.entries(of: queue, tenant: instances.tenant, after: 0, epoch: epoch).count == 2)
        #expect(try await service.entries(of: queue, tenant: instances.tenant, after: 2, epoch: nil).isEmpty)
        await #expect(throws: ServiceError.logRestarted(epoch: epoch, first: 1, head: 2)) {
            try await service.entries(of: queue, tenant: instances.tenant, after: 3, epoch: epoch)
        }
        await #expect(throws: ServiceError.logRestarted(epoch: epoch, first: 1, head: 2)) {
            try await service.entries(of: queue, tenant: instances.tenant, after: 0, epoch: epoch &+ 1)
        }
    }

    /// Once a minute what is too old is forgotten; a reader who has not got it is told.
    @Test(arguments: StoreKind.allCases) func oldEntriesAreForgotten(_ kind: StoreKind) async throws {
        var retention = RetentionSettings()
        retention.log = .seconds(3_600)
        let instances = try await Instances(kind, count: 2, retention: retention)
        let service = instances.services[0]
        let queue = try await instances.makeQueue(QueueConfiguration(releaseRatePerMinute: 0))
        for _ in 0..<3 { _ = try await service.join(queue, visitor: Visitor(), holder: .connection) }
        let head = try await service.queue(queue).state.head
        instances.clock.advance(.seconds(61))
        #expect(try await instances.store.logBounds(of: queue)?.lowerBound == 1)
        #expect(
            try await eventually {
                instances.clock.advance(.seconds(3_700))
                return try await instances.store.logBounds(of: queue)?.lowerBound == head
            })
        await #expect(throws: ServiceError.self) {
            try await service.entries(of: queue, tenant: instances.tenant, after: 0, epoch: nil)
        }
        #expect(try await service.entries(of: queue, tenant: instances.tenant, after: head - 1, epoch: nil).map(\.event.seq) == [head])
    }
}

extension InstancesTests {
    /// An instance stands still while the log is pruned behind what it knows. That is no other history: it learns from the rows how
    /// the queue is, keeps those whom it sees, and all others follow their log as before.
    @Test(arguments: StoreKind.allCases) func logThatWasPrunedMeanwhileIsNoOtherHistory(_ kind: StoreKind) async throws {
        let instances = try await Instances(kind, count: 2)
        let (one, late) = (instances.services[0], instances.services[1])
        let queue = try await instances.makeQueue(QueueConfiguration(releaseRatePerMinute: 0, graceSeconds: 86_400))
        let (gone, stays) = (
            try await one.join(queue, visitor: Visitor(), holder: .connection).session.ticket,
            try await late.join(queue, visitor: Visitor(), holder: .connection).session.ticket
        )
        #expect(await eventually { (try? await late.queue(queue).state.isWaiting(gone)) == true })
        #expect(await eventually { (try? await one.queue(queue).state.isWaiting(stays)) == true })
        let before = try await one.queue(queue)
        instances.bus.lose(percent: 100)
        // Meanwhile it is taken for dead, and one of the two leaves.
        try await one.perform(on: queue) { decision throws(ServiceError) in try decision.markAbsent([stays]) }
        try await one.leave(queue, gone, in: before.record.epoch)
        _ = try await one.announce("the last entry", severity: .info, expiresAt: nil, to: queue, tenant: instances.tenant)
        // By the clock of the store, which may be a server's.
        let far = Timestamp(seconds: 4_000_000_000)
        let age = ExpiredRows.LogAge(before: far, unseenSince: far, now: far)
        #expect(
            try await eventually {
                _ = try await instances.store.deleteExpired(.log(age), limit: 100)
                return try await instances.store.logBounds(of: queue).map { $0.lowerBound > before.state.head } == true
            })
        #expect(await late.catchUp(queue))
        let after = try await late.queue(queue)
        #expect(after.record.epoch == before.record.epoch && !after.state.isWaiting(gone) && after.state.isWaiting(stays))
        #expect(try await eventually { try await !late.queue(queue).state.isAbsent(stays) })
        let epoch = try await instances.store.loadQueue(queue)?.record.epoch
        #expect(epoch == before.record.epoch)
    }
}

@Suite struct PresenceTests {
    @Test func aPlaceIsHeldByWhoeverIsLast() async throws {
        let instances = try await Instances(count: 1)
        let service = instances.services[0]
        let queue = try await instances.makeQueue(QueueConfiguration(releaseRatePerMinute: 0, graceSeconds: 60))
        let ticket = try await service.join(queue, visitor: Visitor(), holder: .connection).session.ticket
        func isAbsent() async throws -> Bool { try await service.queue(queue).state.isAbsent(ticket) }
        // A second connection, and in either order the end of one of the two: still in sight.
        _ = try await service.resume(queue, ticket, of: SessionID(high: 0, low: 0))
        await service.closed(queue, [ticket])
        try await settle(service, queue)
        #expect(try await !isAbsent())
        await service.closed(queue, [ticket])
        #expect(try await eventually { try await isAbsent() })
        // Back, and by asking alone.
        await service.poll(queue, ticket)
        #expect(try await eventually { try await !isAbsent() })
        instances.clock.advance(.seconds(20))
        await service.poll(queue, ticket)
        try await settle(service, queue)
        instances.clock.advance(.seconds(20))
        try await settle(service, queue)
        #expect(try await !isAbsent())
        instances.clock.advance(.seconds(20))
        #expect(try await eventually { try await isAbsent() })
        // Grace counts from when the absence was noticed.
        instances.clock.advance(.seconds(59))
        try await settle(service, queue)
        #expect(try await service.queue(queue).state.isWaiting(ticket))
        instances.clock.advance(.seconds(2))
        #expect(try await eventually { try await !service.queue(queue).state.isWaiting(ticket) })
    }

    /// Whoever polls while the store is away has been in sight when it is back.
    @Test func pollsCountWhileTheStoreIsAway() async throws {
        let instances = try await Instances(count: 1)
        let service = instances.services[0]
        let queue = try await instances.makeQueue(QueueConfiguration(releaseRatePerMinute: 0, graceSeconds: 600))
        let ticket = try await service.join(queue, visitor: Visitor(), holder: .polls).session.ticket
        instances.clock.advance(.seconds(20))
        await service.pollDuringOutage(queue, ticket)
        instances.clock.advance(.seconds(20))
        await service.endOutage()
        try await settle(service, queue)
        #expect(try await !service.queue(queue).state.isAbsent(ticket))
        instances.clock.advance(.seconds(20))
        #expect(try await eventually { try await service.queue(queue).state.isAbsent(ticket) })
    }

    /// Returns once what was asked before is committed.
    private func settle(_ service: QueueService, _ queue: QueueID) async throws {
        _ = try await service.announce("settled", severity: .info, expiresAt: nil, to: queue, tenant: TenantID(high: 1, low: 1))
    }

    /// What the clock was to wake an instance for is nothing to it once it has ended.
    @Test func whoHasEndedReleasesNobody() async throws {
        let instances = try await Instances(count: 1)
        let service = instances.services[0]
        let queue = try await instances.makeQueue(QueueConfiguration(releaseRatePerMinute: 60))
        for _ in 0..<3 { _ = try await service.join(queue, visitor: Visitor(), holder: .connection) }
        await service.stop()
        let head = try await service.queue(queue).state.head
        instances.clock.advance(.seconds(10))
        // The loop does one thing after the other: by then what the clock began has come to the store.
        for _ in 0..<10 { #expect(await !service.isCommitting) }
        #expect(try await instances.store.loadQueue(queue)?.image.head == head)
    }

    /// What comes too late is refused, and does not bring the lease back that was given up.
    @Test(arguments: StoreKind.allCases) func whoHasEndedTakesNoLease(_ kind: StoreKind) async throws {
        let instances = try await Instances(kind, count: 1)
        let service = instances.services[0]
        let queue = try await instances.makeQueue(QueueConfiguration(releaseRatePerMinute: 0))
        await service.stop()
        await #expect(throws: ServiceError.unavailable(retryAfterSeconds: 1)) {
            try await service.join(queue, visitor: Visitor(), holder: .connection)
        }
        await service.closed(queue, [Ticket(lane: 0, number: 1)])
        let other = try await instances.store.beat(
            InstanceID(high: 0, low: 1), lease: .seconds(60), capacity: nil, after: .none, known: [])
        #expect(other.peers.map(\.id) == [service.instance])
        #expect(other.peers.allSatisfy { $0.expiresAt <= other.now })
    }

    /// A beat that is in the store's hands would take the lease again after it was given up.
    @Test func whoEndsWaitsForItsBeat() async throws {
        let instances = try await Instances(.postgres, count: 1)
        let service = instances.services[0]
        let folder = TemporaryFolder()
        try instances.home.lock("instances", while: folder.file("locked"))
        #expect(await eventually { FileManager.default.fileExists(atPath: folder.file("locked")) })
        let beat = Task { await service.beat() }
        #expect(await eventually { await service.beatsUnderWay == 1 })
        let end = Task { await service.stop() }
        #expect(await eventually { await service.life != .serving })
        // On a busy machine the heartbeat may have been given up by now.
        #expect(await !service.hasEndedBeforeItsBeat)
        try FileManager.default.removeItem(atPath: folder.file("locked"))
        await end.value
        await beat.value
        #expect(await service.life == .ended)
    }

    /// Nobody is let in who was in sight of an instance that is gone; who comes back, or joins, is.
    @Test(arguments: StoreKind.allCases) func afterARestartEverybodyHasAWholeGracePeriod(_ kind: StoreKind) async throws {
        let instances = try await Instances(kind, count: 1)
        let before = instances.services[0]
        let queue = try await instances.makeQueue(QueueConfiguration(releaseRatePerMinute: 0, graceSeconds: 60))
        var tickets: [Ticket] = []
        for _ in 0..<5 { tickets.append(try await before.join(queue, visitor: Visitor(), holder: .connection).session.ticket) }
        await before.closed(queue, [tickets[0]])
        try await settle(before, queue)
        await before.stop()
        instances.clock.advance(.seconds(59))
        let again = try await instances.restarted()
        #expect(try await eventually { try await again.queue(queue).state.absentCount == 5 })
        #expect(try await instances.store.held(by: before.instance, in: queue) == [])
        instances.clock.advance(.seconds(2))
        _ = try await again.resume(queue, tickets[1], of: SessionID(high: 0, low: 0))
        let late = try await again.join(queue, visitor: Visitor(), holder: .connection).session.ticket
        let state = try await again.queue(queue).state
        #expect(state.waitingCount == 6 && state.absentCount == 4)
        #expect(try await QueueState(#require(instances.store.loadQueue(queue)).image) == state)
        #expect(try await instances.store.held(by: again.instance, in: queue) == [tickets[1], late])
    }
}

extension QueueService {
    /// In one turn, so that no beat finds the store back in between.
    fileprivate func pollDuringOutage(_ queue: QueueID, _ ticket: Ticket) {
        beginOutage(.unavailable("away"))
        poll(queue, ticket)
    }
}

extension QueueService {
    fileprivate var hasEndedBeforeItsBeat: Bool { life == .ended && beatsUnderWay > 0 }
    fileprivate func leave(queueToAnother queue: QueueID) { backlog.block(queue) }
    fileprivate var pendingCount: Int { backlog.commandCount }
}
