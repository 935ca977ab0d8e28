import QueueEngine
import QueueService

/// Somebody who wants to get in: joins, waits connected or polling, loses the connection, sleeps, comes back, leaves.
final class SimulatedVisitor: @unchecked Sendable {
    enum Phase { case outside, waiting, admitted, gone }

    let number: Int
    let queue: SimulatedQueue
    let isPolling: Bool
    /// The place is found by the session's token alone, and not by a name or a key, which another request may have, too.
    var isAlone: Bool { who.user == nil && once == nil }
    /// Its name is one that no store takes.
    private let isImpossible: Bool
    private unowned let world: World
    private let who: Visitor
    private let lane: String?
    private let once: WriteOnce?
    private(set) var phase = Phase.outside
    private(set) var session: SessionID?
    private(set) var ticket: Ticket?
    private(set) var connection: Connection?
    /// Answers to what was asked before the last change of mind are ignored.
    private var attempt = 0
    private var failures = 0
    /// When a process last saw it, or may have begun to.
    private var seenAt = Timestamp.distantPast

    var description: String {
        let place = connection.map { "connected to process \($0.incarnation.slot)" } ?? (isPolling ? "polling" : "not connected")
        return "visitor \(number) of queue \(queue.id): \(phase), ticket \(ticket.map { "\($0)" } ?? "none"), \(place)"
    }

    /// Whether somebody may count it as present.
    func wasSeen(within span: Timestamp.Span) -> Bool { connection != nil || seenAt > world.scheduler.now - span }

    init(_ number: Int, in queue: SimulatedQueue, of world: World) {
        self.number = number
        self.queue = queue
        self.world = world
        let options = world.options
        isPolling = world.dice.chance(options.polling)
        var who = Visitor(user: world.dice.chance(options.named) ? "user\(world.dice.int(1...60))" : nil)
        // No store takes a NUL: the request's own fault, of which no other may hear. Who is known by a name may have a place.
        isImpossible = who.user == nil && world.dice.chance(0.02)
        if isImpossible { who.displayName = "a\0b" }
        self.who = who
        let lanes = queue.lanes
        lane = lanes.isEmpty || world.dice.chance(0.6) ? nil : world.dice.chance(0.02) ? "nowhere" : world.dice.pick(lanes)
        once = world.dice.chance(options.withReceipt) ? WriteOnce(tenant: queue.tenant, key: "join-\(number)", requestHash: [1]) : nil
    }

    private func later(_ span: Timestamp.Span, _ body: @escaping (SimulatedVisitor) -> Void) {
        world.scheduler.after(span) { [weak self] in if let self, self.phase != .gone { body(self) } }
    }

    // MARK: Joining

    func join() {
        guard phase == .outside, !world.isDraining else { return finished() }
        guard let process = world.pickProcess() else { return later(world.dice.time(0.5...3)) { $0.join() } }
        attempt += 1
        let (attempt, id, moment) = (attempt, queue.id, process.clock.now())
        let holder: QueueService.Holder = isPolling ? .polls : .connection
        process.ask { [self] service in
            do throws(ServiceError) {
                try await service.visit(id)
                let joined = try await service.join(id, lane: lane, visitor: who, holder: holder, once: once)
                self.joined(joined, at: process, since: moment, attempt)
            } catch {
                joinFailed(error, attempt)
            }
        }
        later(.seconds(40)) {
            if $0.attempt == attempt, $0.phase == .outside { $0.joinFailed(.unavailable(retryAfterSeconds: 1), attempt) }
        }
    }

    private func joined(_ joined: QueueService.Joined, at process: Incarnation, since moment: Timestamp, _ attempt: Int) {
        guard process.isAlive else { return }
        guard attempt == self.attempt, phase == .outside else {
            // Nobody listens any more: the server notices that the connection is closed.
            if !isPolling { Connection(queue.id, joined.session.ticket, of: self, at: process, since: moment).end() }
            return
        }
        if isImpossible { world.report(.state, "a visitor was taken whose name no store takes") }
        world.acknowledged(joined, to: self)
        (session, ticket, phase) = (joined.session.id, joined.session.ticket, .waiting)
        failures = 0
        stay(at: process, since: moment)
        if world.dice.chance(world.options.leaving) { later(world.dice.time(mean: 120)) { $0.leave() } }
    }

    private func joinFailed(_ error: ServiceError, _ attempt: Int) {
        guard attempt == self.attempt, phase == .outside else { return }
        self.attempt += 1
        failures += 1
        world.answered(error)
        switch error {
        case .unavailable, .storeFull: if failures < 6 { return later(world.dice.time(0.5...10)) { $0.join() } }
        case .rejected where isImpossible: break
        case .refused(.noSuchLane), .refused(.closed), .refused(.full), .noSuchQueue: break
        default: world.report(.state, "a join was answered \(error)")
        }
        finished()
    }

    // MARK: Waiting

    /// Is held by `process` from now on, or polls.
    private func stay(at process: Incarnation, since moment: Timestamp) {
        guard let ticket else { return }
        seenAt = world.scheduler.now
        if isPolling { return later(world.dice.time(2...25)) { $0.poll() } }
        let connection = Connection(queue.id, ticket, of: self, at: process, since: moment)
        self.connection = connection
        if let snapshot = process.snapshots[queue.id] { follow(snapshot.state.standing(ticket)) } else if queue.isDeleted { finished() }
        world.displays.opened(connection)
        guard phase == .waiting, world.options.flapEvery > 0 else { return }
        later(world.dice.time(mean: world.options.flapEvery)) { if $0.connection === connection { $0.disconnect() } }
    }

    private func follow(_ standing: Standing) {
        switch standing {
        case .waiting: break
        case .admitted: wasAdmitted()
        case .gone: finished()
        }
    }

    private func disconnect() {
        guard let old = connection else { return }
        connection = nil
        seenAt = world.scheduler.now
        world.displays.closed(old)
        // A server may notice late, also after the visitor has come back.
        world.scheduler.after(world.dice.chance(0.7) ? .milliseconds(1) : world.dice.time(0...40)) { old.end() }
        let isSleeping = world.dice.chance(world.options.sleeping)
        later(isSleeping ? world.dice.time(30...4_000) : world.dice.time(0.1...15)) { $0.reconnect() }
    }

    /// - Parameter mayGiveUp: the process has gone; some do not come back.
    func connectionWasLost(_ lost: Connection, mayGiveUp: Bool = false) {
        world.displays.closed(lost)
        guard lost === connection else { return }
        seenAt = world.scheduler.now
        lost.incarnation.remove(lost)
        connection = nil
        if phase == .waiting, mayGiveUp, world.dice.chance(world.options.givingUp) { return finished() }
        if phase == .waiting { later(world.dice.time(0.1...12)) { $0.reconnect() } }
    }

    private func reconnect() {
        guard phase == .waiting, connection == nil, let ticket, let session else { return }
        guard let process = world.pickProcess() else { return later(world.dice.time(0.5...3)) { $0.reconnect() } }
        attempt += 1
        let (attempt, id, moment) = (attempt, queue.id, process.clock.now())
        process.ask { [self] service in
            do throws(ServiceError) {
                let snapshot = try await service.resume(id, ticket, of: session, at: moment)
                resumed(snapshot, at: process, since: moment, attempt)
            } catch {
                reconnectFailed(error, attempt)
            }
        }
        later(.seconds(30)) { if $0.attempt == attempt, $0.connection == nil { $0.reconnect() } }
    }

    private func resumed(_ snapshot: QueueSnapshot, at process: Incarnation, since moment: Timestamp, _ attempt: Int) {
        seenAt = world.scheduler.now
        guard process.isAlive, let ticket else { return }
        guard attempt == self.attempt, phase == .waiting, connection == nil else {
            return Connection(queue.id, ticket, of: self, at: process, since: moment).end()
        }
        self.attempt += 1
        follow(snapshot.state.standing(ticket))
        if phase == .waiting { stay(at: process, since: moment) }
    }

    private func reconnectFailed(_ error: ServiceError, _ attempt: Int) {
        guard attempt == self.attempt, phase == .waiting, connection == nil else { return }
        self.attempt += 1
        world.answered(error)
        switch error {
        case .unavailable, .storeFull: later(world.dice.time(0.5...8)) { $0.reconnect() }
        case .noSuchQueue where queue.isDeleted: finished()
        default:
            world.report(.state, "a session that was acknowledged was answered \(error)")
            finished()
        }
    }

    private func poll() {
        guard phase == .waiting, let ticket, let session else { return }
        let isSleeping = world.dice.chance(world.options.sleeping / 4)
        later(isSleeping ? world.dice.time(30...3_000) : world.dice.time(2...25)) { $0.poll() }
        guard let process = world.pickProcess() else { return }
        let id = queue.id
        process.ask { [self] service in
            do throws(ServiceError) {
                let snapshot = try await service.queue(id, knowing: ticket, of: session)
                if case .waiting = snapshot.state.standing(ticket) {
                    seenAt = world.scheduler.now
                    world.tell("process \(process.slot): visitor \(number) polls for \(ticket) of queue \(id)")
                    await service.poll(id, ticket)
                }
                if process.isAlive, phase == .waiting { follow(snapshot.state.standing(ticket)) }
            } catch {
                guard process.isAlive, phase == .waiting else { return }
                world.answered(error)
                switch error {
                case .unavailable, .storeFull: break
                case .noSuchQueue where queue.isDeleted: finished()
                default: world.report(.state, "a poll of an acknowledged session was answered \(error)")
                }
            }
        }
    }

    // MARK: Ending

    func leave() {
        guard phase == .waiting, let ticket, let session else { return }
        guard let process = world.pickProcess() else { return later(.seconds(2)) { $0.leave() } }
        let id = queue.id
        process.ask { [self] service in
            do throws(ServiceError) {
                try await service.visit(id)
                _ = try await service.queue(id, knowing: ticket, of: session)
                try await service.leave(id, ticket, of: session)
                finished()
            } catch {
                switch error {
                case .unavailable, .storeFull: later(world.dice.time(1...5)) { $0.leave() }
                default:
                    // Whatever was refused: the page is closed, and its connection with it.
                    connection?.end()
                    finished()
                }
            }
        }
    }

    func wasAdmitted() {
        guard phase == .waiting else { return }
        phase = .admitted
        world.tally.admitted += 1
        if world.dice.chance(world.options.noShow) { return finished() }
        later(world.dice.time(mean: world.options.stay)) { $0.complete(after: 0) }
    }

    private func complete(after failures: Int) {
        guard phase == .admitted, let session else { return }
        guard failures < 5, let process = world.pickProcess() else { return finished() }
        let (tenant, id, ticket) = (queue.tenant, queue.id, ticket!)
        let givesBack = world.dice.chance(0.1)
        if !givesBack, world.dice.chance(0.2), let second = world.pickProcess() { return completeTwice(process, second, session) }
        attempt += 1
        let attempt = attempt
        process.ask { [self] service in
            do throws(ServiceError) {
                try await service.visit(id)
                if givesBack {
                    try await service.leave(id, ticket, of: session)
                } else {
                    _ = try await service.complete(session, tenant: tenant)
                }
                finished()
            } catch {
                checkRefusal(error, of: session, at: process)
                guard attempt == self.attempt else { return }
                switch error {
                case .unavailable, .storeFull: later(world.dice.time(1...5)) { $0.complete(after: failures + 1) }
                default: finished()
                }
            }
        }
        // A process that died never answers.
        later(.seconds(60)) { if $0.attempt == attempt { $0.complete(after: failures + 1) } }
    }

    /// Who has been told of the admission can use it until it ends, at any process.
    private func checkRefusal(_ error: ServiceError, of session: SessionID, at process: Incarnation) {
        guard process.isAlive else { return }
        let isUnderWay = world.database.transaction { state, _ in state.session(session)?.isUnderWay ?? false }
        switch error {
        case .refused(.notAdmitted): world.report(.state, "the admission of \(description) was answered \(error)")
        case .refused(.ended), .noSuchSession:
            if isUnderWay { world.report(.state, "the admission of \(description) was answered \(error), and has not ended") }
        default: break
        }
    }

    private final class Answers: @unchecked Sendable { var (isCompleted, isRefused) = (false, false) }

    /// An integrator who repeats what is under way: where one call has completed the session the other has, too.
    private func completeTwice(_ first: Incarnation, _ second: Incarnation, _ session: SessionID) {
        let tenant = queue.tenant
        let answers = Answers()
        for process in [first, second] {
            process.ask { [self] service in
                do throws(ServiceError) {
                    _ = try await service.complete(session, tenant: tenant)
                    answers.isCompleted = true
                } catch {
                    if case .refused = error { answers.isRefused = true }
                    checkRefusal(error, of: session, at: process)
                }
                if answers.isCompleted, answers.isRefused { world.report(.state, "a session was completed, and its completion refused") }
                finished()
            }
        }
        // A process that died never answers.
        later(.seconds(120)) { $0.finished() }
    }

    /// Its story is over, here at least.
    func finished() {
        guard phase != .gone else { return }
        phase = .gone
        world.tell("it is over for \(description)")
        if let connection {
            world.displays.closed(connection)
            connection.incarnation.remove(connection)
            self.connection = nil
        }
        queue.visitors[number] = nil
        world.crowd -= 1
    }
}
