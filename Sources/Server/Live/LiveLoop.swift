import EventLoop
import Foundation
import HTTPTypes
import Metrics
import QueueEngine
import QueueService
import Telemetry
import WebSocketProtocol

/// The live connections of one event loop: its queues, and what they share. Confined to the loop.
final class LiveLoop {
    let loop: EventLoop
    let server: ServerCore
    let router: Router
    private(set) var queues: [QueueID: LiveQueue] = [:]
    /// Readers of events, of all queues.
    var feeds: [ObjectIdentifier: EventFeed] = [:]
    var watchesKeys = false
    private(set) var isDraining = false
    private(set) var staleSince: Timestamp?
    /// One for all connections: a frame is written here and sent from here.
    var encoder = FrameEncoder()
    /// Those of a sweep, a few at a time.
    var positionFrames = PositionFrames()
    private var pool: DeflatePool
    private var closedTickets: [Place: [Ticket]] = [:]

    /// How far a queue's log was known here when a connection closed. In another history of the queue somebody else may have the
    /// ticket; behind the head another instance may have taken it over.
    private struct Place: Hashable {
        let queue: QueueID
        let epoch: UInt64
        let head: UInt64
    }

    init(loop: EventLoop, server: ServerCore, router: Router) {
        self.loop = loop
        self.server = server
        self.router = router
        pool = DeflatePool(minimumBytes: server.settings.deflate?.minimumBytes ?? .max)
        loop.stallSeconds = server.settings.stallSeconds
    }

    /// Milliseconds of the loop's clock, which wraps: what displays are timed by.
    var milliseconds: UInt32 { UInt32(truncatingIfNeeded: loop.now / 1_000_000) }

    // MARK: Connections

    private(set) lazy var intake = Intake(live: self)

    /// Counts a connection for another address than before; false where that has as many as it may have, and nothing is changed.
    func count(_ connection: Connection, for group: AddressGroup) -> Bool {
        guard connection.tag != group.rawValue else { return true }
        guard server.limits.connect(group) == .granted else { return false }
        uncount(connection, to: group)
        return true
    }

    /// Gives back what the connection counts for, and notes that it counts for `group` now. For a proxy's connection whose client
    /// got no WebSocket that is nobody.
    func uncount(_ connection: Connection, to group: AddressGroup) {
        guard connection.tag != group.rawValue else { return }
        server.limits.disconnect(AddressGroup(rawValue: connection.tag))
        connection.tag = group.rawValue
    }

    /// Too much of something: for a little while the connection's address is not let in again. What to say before 4008.
    func flooded(_ what: String, _ connection: Connection) -> Problem {
        server.measurements.refused(.messages)
        server.limits.refuse(AddressGroup(rawValue: connection.tag))
        return Problem(.tooManyRequests, "rate_limited", "too many \(what)", retryAfterSeconds: 5)
    }

    func connectionClosed(_ connection: Connection) {
        server.limits.disconnect(AddressGroup(rawValue: connection.tag))
        server.limits.close()
    }

    /// The 101 for a request that may become a WebSocket, and how that compresses. From here on the connection counts for the
    /// client, who may stand behind a proxy.
    func handshake(_ request: Request, subprotocols: [String], on connection: Connection) throws(Problem) -> Upgrade {
        let group = server.limits.group(request.peer)
        if case .refused(let seconds) = server.limits.handshake(group) {
            server.measurements.refused(.handshakes)
            throw Problem(.tooManyRequests, "rate_limited", "too many connection attempts", retryAfterSeconds: seconds)
        }
        try server.browsers.check(request)
        guard !isDraining else { throw Problem(.serviceUnavailable, "restarting", "the server restarts", retryAfterSeconds: 1) }
        let upgrade = try upgrade(request, subprotocols)
        guard count(connection, for: group) else {
            server.measurements.refused(.address)
            throw .tooManyConnections
        }
        return upgrade
    }

    private func upgrade(_ request: Request, _ subprotocols: [String]) throws(Problem) -> Upgrade {
        do throws(HandshakeRefusal) {
            guard request.method == .get else { throw .method }
            guard request.wantsUpgrade else { throw .notAnUpgrade }
            let answer = try Handshake.answer(
                method: request.method.rawValue, fields: Handshake.Fields(request.fields), supported: subprotocols,
                deflate: server.settings.deflate)
            return Upgrade(response: answer.response, deflate: answer.deflate.map { pool.deflate($0) })
        } catch {
            throw Problem(error)
        }
    }

    /// A connection that held a ticket is gone; what an iteration brings is told together.
    func ticketClosed(_ queue: QueueSnapshot, _ ticket: Ticket) {
        if closedTickets.isEmpty { loop.defer { [self] in tellClosed() } }
        let place = Place(queue: queue.record.id, epoch: queue.record.epoch, head: queue.state.head)
        closedTickets[place, default: []].append(ticket)
    }

    private func tellClosed() {
        let (gone, service) = (closedTickets, server.service)
        closedTickets = [:]
        Task(executorPreference: loop) {
            for (place, tickets) in gone { await service.closed(place.queue, in: place.epoch, asOf: place.head, tickets) }
        }
    }

    /// Closes the connections of the ticket on this loop that are older than `entry`. Where one here is newer, which was answered
    /// before, the connection of `entry` is closed in its turn.
    func replace(_ queue: QueueID, _ ticket: Ticket, olderThan entry: LiveVisitor.Entry) {
        guard let visitors = queues[queue]?.find(ticket) else { return }
        for visitor in visitors where visitor.entry < entry { visitor.end(.replaced) }
        let newest = visitors.filter { $0.phase == .waiting || $0.phase == .admitted }.map(\.entry).max()
        if let newest, entry < newest { server.replaceOthers(queue: queue, ticket: ticket, olderThan: newest) }
    }

    // MARK: Queues

    func apply(_ update: QueueUpdate) {
        let record = update.snapshot.record
        if let queue = queues[record.id] {
            if queue.snapshot.record.epoch == record.epoch {
                queue.apply(update)
            } else {
                let other = LiveQueue(live: self, update)
                queues[record.id] = other
                queue.restart(as: other)
            }
        } else {
            queues[record.id] = LiveQueue(live: self, update)
        }
    }

    func remove(_ queue: QueueID) { queues.removeValue(forKey: queue)?.close() }

    /// Nobody is in the queue. Connections that are still closing keep it a little longer.
    func rest(_ queue: QueueID) {
        queues[queue]?.isAtRest = true
        dropIfUnused(queue)
    }

    /// Forgets a queue at rest that no connection needs any more.
    func dropIfUnused(_ queue: QueueID) {
        if let known = queues[queue], known.isAtRest, known.isUnused { queues[queue] = nil }
    }

    func becomeStale(since: Timestamp?) {
        staleSince = since
        for queue in queues.values { queue.notifyStaleness() }
    }

    func sendPositionFrames() {
        let conflated = positionFrames.send()
        if conflated > 0 { server.measurements.positionsConflated.increment(by: conflated) }
    }

    // MARK: Draining

    /// Sends everyone away, each with a moment of its own to come back: who stands in front comes first.
    func drain(_ plan: DrainPlan) {
        isDraining = true
        for queue in queues.values { queue.drain(plan) }
        loop.forEachConnection { connection in
            switch connection.handler {
            // Whoever is in a queue is told by that, in turn.
            case let visitor as LiveVisitor where visitor.queue != nil: break
            case let visitor as LiveVisitor: visitor.drain(afterSeconds: plan.moment(of: 0, among: 1, random: .random(in: 0...1)))
            case let http as HTTPConnection: http.drain(connection)
            case let socket as EventSocket: socket.drain()
            case let stream as EventStream: stream.drain()
            default: connection.closeWhenSent()
            }
        }
    }

    var connectionCount: Int {
        var count = 0
        loop.forEachConnection { _ in count += 1 }
        return count
    }
}

extension Problem {
    static func tooManyJoins(_ seconds: Int) -> Problem {
        Problem(.tooManyRequests, "rate_limited", "too many people are joining just now", retryAfterSeconds: seconds)
    }
}

/// A WebSocket about to begin.
struct Upgrade {
    let response: [UInt8]
    let deflate: PermessageDeflate?
}

extension Problem {
    init(_ refusal: HandshakeRefusal) {
        switch refusal {
        case .method:
            self.init(.methodNotAllowed, "method_not_allowed", "a WebSocket begins with GET")
            fields[.allow] = "GET"
        case .notAnUpgrade:
            self.init(.upgradeRequired, "upgrade_required", "this is a WebSocket: ask for an upgrade")
            fields[.upgrade] = "websocket"
            fields[.secWebSocketVersion] = "13"
        case .version:
            self.init(.upgradeRequired, "websocket_version", "only version 13 is spoken here")
            fields[.upgrade] = "websocket"
            fields[.secWebSocketVersion] = "13"
        case .key: self.init(.badRequest, "websocket_key", "Sec-WebSocket-Key must be 16 bytes in base64")
        case .subprotocol: self.init(.badRequest, "websocket_subprotocol", "stanchion.v1 is spoken here")
        }
    }
}
