import Logging
import QueueEngine
import QueueService
import Telemetry

/// One process that serves the store, from its start to its death.
final class Incarnation: QueueObserver, @unchecked Sendable {
    let slot: Int
    let runQueue = RunQueue()
    let clock: SimulatedClock
    let service: QueueService
    let gate: FaultyGate
    fileprivate unowned let world: World
    let registry: PrometheusRegistry
    /// The process runs.
    private(set) var isAlive = true
    /// It takes visitors.
    private(set) var isServing = false
    private(set) var connections: [QueueID: [Ticket: [Connection]]] = [:]
    /// What it said last of each queue.
    private(set) var snapshots: [QueueID: QueueSnapshot] = [:]

    init(slot: Int, in world: World, seed: UInt64) {
        self.slot = slot
        self.world = world
        var dice = Dice(seed: seed)
        let options = world.options
        clock = SimulatedClock(world.scheduler, runQueue, error: dice.time(-options.clockError...options.clockError))
        gate = FaultyGate(world, slot: slot)
        registry = PrometheusRegistry()
        service = QueueService(
            executor: runQueue, store: ModelStore(world.database, gate: gate), bus: SimulatedBus(world), clock: clock,
            random: SimulatedRandom(seed: dice.next()), lease: LeaseSettings(duration: options.lease), retention: options.retention,
            restAfter: options.restAfter, cacheCapacity: options.cacheCapacity, measurements: QueueMeasurements(registry: registry),
            log: Logger(label: "simulation") { _ in SwiftLogNoOpLogHandler() })
    }

    func start() {
        world.scheduler.add(runQueue)
        clock.woken = { [unowned world, slot] in world.tell("process \(slot) wakes") }
        ask { [self] service in
            do {
                try await service.start()
                await service.observe(self)
                if isAlive { isServing = true }
            } catch {
                // A process that cannot start ends, and is started again.
                world.startFailed(self)
            }
        }
    }

    /// Does `body` as a request that came to this process.
    func ask(_ body: @escaping @Sendable (QueueService) async -> Void) {
        world.tally.requests += 1
        let number = world.tally.requests
        unanswered[number] = world.scheduler.now
        _ = Task(executorPreference: runQueue.tasks) { [self, service] in
            await body(service)
            unanswered[number] = nil
        }
    }

    /// Since when each request that has no answer yet waits for it, by its number. A process that was killed answers nobody.
    private var unanswered: [Int: Timestamp] = [:]

    /// Since when the request waits that has waited longest.
    var longestUnanswered: Timestamp? { isAlive ? unanswered.values.min() : nil }

    /// The process is killed: nothing reaches it any more, and nothing that it does reaches anybody.
    func kill() {
        isAlive = false
        isServing = false
        clock.isStopped = true
        gate.isCut = true
        runQueue.isFrozen = false
        world.leaveBus(service.instance)
        world.races[service.instance] = nil
        world.gone.insert(service.instance)
        let gone = connections.sorted { $0.key < $1.key }.flatMap { $0.value.sorted { $0.key < $1.key }.flatMap(\.value) }
        connections = [:]
        for connection in gone { connection.visitor?.connectionWasLost(connection, mayGiveUp: true) }
        // What it still had to run fails and ends, so that its memory is given back.
        world.scheduler.after(.seconds(600)) { [world, runQueue] in world.scheduler.remove(runQueue) }
    }

    /// An orderly end: visitors are sent away over some seconds, and what was asked is committed.
    func stop(then done: @escaping @Sendable () -> Void) {
        isServing = false
        let span = world.dice.time(0.5...15)
        ask { await $0.beginDrain(over: span) }
        let gone = connections.sorted { $0.key < $1.key }.flatMap { $0.value.sorted { $0.key < $1.key }.flatMap(\.value) }
        for connection in gone {
            world.scheduler.after(world.dice.time(0...span.seconds)) {
                connection.visitor?.connectionWasLost(connection, mayGiveUp: true)
                connection.end()
            }
        }
        world.scheduler.at(world.scheduler.now + span + .milliseconds(100)) { [self] in
            ask { service in
                await service.stop()
                done()
            }
        }
    }

    // MARK: Connections

    func add(_ connection: Connection) { connections[connection.queue, default: [:]][connection.ticket, default: []].append(connection) }

    func remove(_ connection: Connection) {
        connections[connection.queue]?[connection.ticket]?.removeAll { $0 === connection }
        if connections[connection.queue]?[connection.ticket]?.isEmpty == true { connections[connection.queue]?[connection.ticket] = nil }
        if connections[connection.queue]?.isEmpty == true { connections[connection.queue] = nil }
    }

    // MARK: What the service says

    // A server passes it on to its loops, behind the answers that the service gave before, and so does this one: an answer
    // to a visitor is never overtaken by what happened after it.

    func queueChanged(_ update: QueueUpdate) { runQueue.execute { self.apply(update) } }

    private func apply(_ update: QueueUpdate) {
        guard isAlive else { return }
        let id = update.snapshot.record.id
        world.check(update.snapshot, after: snapshots[id], by: self)
        snapshots[id] = update.snapshot
        let moved = Dictionary(update.movedAway.map { ($0.ticket, $0.at) }, uniquingKeysWith: max)
        for (ticket, moment) in moved.sorted(by: { $0.key < $1.key }) { giveWay(id, ticket, moment) }
        for event in update.events { tell(id, event) }
        world.displays.changed(id, at: self)
    }

    func queueRemoved(_ queue: QueueID) { runQueue.execute { self.remove(queue) } }

    private func remove(_ queue: QueueID) {
        guard isAlive else { return }
        snapshots[queue] = nil
        let gone = connections.removeValue(forKey: queue)?.sorted { $0.key < $1.key }.flatMap(\.value) ?? []
        for connection in gone { connection.visitor?.finished() }
    }

    func queueRested(_ queue: QueueID) { runQueue.execute { if self.isAlive { self.snapshots[queue] = nil } } }
    func stalenessChanged(_ since: Timestamp?) {}

    /// A connection that is older than the visitor's at another instance ends; one that is newer says so.
    private func giveWay(_ queue: QueueID, _ ticket: Ticket, _ moment: Timestamp) {
        world.tell("process \(slot): \(ticket) of queue \(queue) is held elsewhere since \(moment.seconds)")
        for connection in connections[queue]?[ticket] ?? [] {
            // Of several the last is the visitor's; the server has ended the others.
            if connection.openedAt > moment, connection === connections[queue]?[ticket]?.last {
                let stay = (ticket, connection.openedAt)
                guard let snapshot = snapshots[queue] else { continue }
                ask { await $0.stayed(queue, in: snapshot.record.epoch, asOf: snapshot.state.head, [stay]) }
            } else {
                // Who has a place alone has one connection at a time, and a browser whose own is replaced comes back no more.
                if let visitor = connection.visitor, visitor.isAlone, connection === visitor.connection, world.options.clockError == 0 {
                    world.report(.presence, "the connection of \(ticket) of queue \(queue) was closed for one that is older")
                }
                connection.holdsTicket = false
                remove(connection)
                connection.visitor?.connectionWasLost(connection)
            }
        }
    }

    private func tell(_ queue: QueueID, _ event: QueueEvent) {
        guard connections[queue] != nil else { return }
        switch event.change {
        case .admitted(let ticket, _): for connection in connections[queue]?[ticket] ?? [] { connection.visitor?.wasAdmitted() }
        case .completed(let ticket), .left(let ticket), .expired(let ticket, _):
            for connection in connections[queue]?[ticket] ?? [] { connection.visitor?.finished() }
        case .closed:
            for connection in (connections[queue] ?? [:]).sorted(by: { $0.key < $1.key }).flatMap(\.value) {
                if connection.visitor?.phase == .waiting { connection.visitor?.finished() }
            }
        default: break
        }
    }
}

/// A visitor's connection to one process.
final class Connection {
    let queue: QueueID
    let ticket: Ticket
    /// When the visitor asked for it, on the process's clock.
    let openedAt: Timestamp
    weak var visitor: SimulatedVisitor?
    let incarnation: Incarnation
    /// Its end is to be told: another connection has not taken its place.
    var holdsTicket = true

    init(_ queue: QueueID, _ ticket: Ticket, of visitor: SimulatedVisitor, at incarnation: Incarnation, since moment: Timestamp) {
        (self.queue, self.ticket, self.visitor, self.incarnation) = (queue, ticket, visitor, incarnation)
        openedAt = moment
        incarnation.add(self)
        incarnation.world.tell("process \(incarnation.slot): a connection of visitor \(visitor.number) shows \(ticket) of queue \(queue)")
    }

    private var isEnded = false

    /// The process has noticed that it is closed.
    func end() {
        guard !isEnded else { return }
        isEnded = true
        incarnation.remove(self)
        incarnation.world.tell(
            "process \(incarnation.slot): a connection that showed \(ticket) of queue \(queue) has ended, \(holdsTicket)")
        guard holdsTicket, incarnation.isAlive else { return }
        let (queue, ticket, head) = (queue, ticket, incarnation.snapshots[queue]?.state.head ?? .max)
        incarnation.ask { await $0.closed(queue, asOf: head, [ticket]) }
    }
}
