import EventLoop
import HTTPTypes
import Metrics
import QueueEngine
import QueueService
import Telemetry
import WebSocketProtocol

/// One visitor's WebSocket. While it waits it is this record, its connection's and its place in a list: no task, no
/// timer, no buffer.
final class LiveVisitor: ConnectionHandler {
    enum Phase: UInt8 {
        /// No first frame yet.
        case new
        /// A join or resume is with the service.
        case entering
        case waiting
        case admitted
        /// A close frame has gone, or is about to; nothing more is said.
        case over
        /// The connection is gone.
        case gone
    }

    unowned let live: LiveLoop
    private unowned let connection: Connection
    private(set) var queue: LiveQueue?
    private var webSocket: WebSocket
    private(set) var ticket = Ticket(rawValue: 0)
    private var session = SessionID(high: 0, low: 0)
    /// The integrator's id for the person, where a key vouched for it.
    private var user: String?
    /// Grows with every entry into a queue in this process: of two connections with one ticket the larger one stays.
    private(set) var serial: UInt64 = 0
    private var shown = ShownPosition(position: 0, rate: 0, at: 0)
    private var lastPosition: Int32 = 0
    private var lastSent: UInt32 = 0
    private var phase = Phase.new
    private var isHidden = false
    private var isExact = false
    private var awaitsPong = false
    private var messages = RateBucket()

    init(live: LiveLoop, connection: Connection) {
        self.live = live
        self.connection = connection
        webSocket = WebSocket(messageLimit: live.server.settings.messageBytes)
        connection.outboxLimit = Int32(live.server.settings.visitorOutboxBytes)
        connection.deadline = live.loop.second + live.server.settings.firstFrameSeconds
        live.server.measurements.openVisitors.increment()
    }

    var isWaiting: Bool { phase == .waiting }
    var isGone: Bool { phase == .gone }

    // MARK: The connection

    func connection(_ connection: Connection, received bytes: inout MutableRawSpan) {
        if phase == .waiting || phase == .admitted {
            awaitsPong = false
            connection.deadline = live.loop.second + live.server.settings.pingSeconds
        }
        webSocket.receive(&bytes, self)
    }

    func connectionTimedOut(_ connection: Connection) {
        switch phase {
        case .new: end(.noFirstFrame)
        case .over, .gone: connection.close()
        case .entering, .waiting, .admitted:
            guard !awaitsPong else {
                live.server.measurements.deadPeersClosed.increment()
                return connection.close()
            }
            awaitsPong = true
            connection.deadline = live.loop.second + live.server.settings.pongSeconds
            connection.send(FrameEncoder.frame(.ping, []))
        }
    }

    func connectionClosed(_ connection: Connection) {
        let held = queue != nil && (phase == .waiting || phase == .over || phase == .admitted)
        phase = .gone
        live.connectionClosed(connection)
        live.server.measurements.openVisitors.decrement()
        guard held, let queue else { return }
        live.ticketClosed(queue.snapshot.record.id, ticket)
        queue.remove(self)
    }

    // MARK: Sending

    /// Sends a whole frame in order; whoever lets too much of it pile up is sent away.
    func send(_ frame: UnsafeRawBufferPointer) {
        guard phase == .waiting || phase == .admitted || phase == .entering || phase == .new else { return }
        if !connection.send(frame) {
            live.server.measurements.slowConsumersClosed.increment()
            end(.slowConsumer)
        }
    }

    private func send(_ write: (inout [UInt8]) -> Void) {
        live.encoder.reset()
        write(&live.encoder.payload)
        live.encoder.finish(.text) { send($0) }
    }

    /// Ends the connection with a close frame. It may be called while a message of this connection is being read, so
    /// the frame goes at the end of the iteration.
    func end(_ close: LiveClose) {
        guard phase != .over, phase != .gone else { return }
        phase = .over
        connection.dropReplaceable()
        connection.deadline = live.loop.second + live.server.settings.closeSeconds
        live.loop.defer { [self] in
            guard phase == .over else { return }
            webSocket.close(close.code, close.reason, self)
        }
    }

    private func refuse(_ problem: Problem, _ close: LiveClose) {
        guard phase != .over, phase != .gone else { return }
        live.server.measurements.protocolErrors.increment()
        send { LiveFrames.error(problem, into: &$0) }
        end(close)
    }

    // MARK: Positions

    /// What a sweep knows of the queue, once for everyone.
    struct Sweep {
        let milliseconds: UInt32
        let at: Timestamp
        let waiting: Int
        let drain: DrainRate
        /// The queue was set anew: everyone is told, due or not.
        let isForced: Bool
    }

    /// Whether it can matter now where the visitor stands: looked at before the place is counted.
    func isListening(_ sweep: Sweep) -> Bool {
        !isHidden && (!isExact || sweep.isForced || sweep.milliseconds &- lastSent >= live.server.settings.updateMilliseconds)
    }

    /// Sends a position frame where one is due.
    func consider(_ position: Int, _ sweep: Sweep) {
        let rose = position > Int(lastPosition)
        let isDue = isExact ? position != Int(lastPosition) : shown.isFrameDue(truth: position, at: sweep.milliseconds)
        guard rose || isDue || sweep.isForced else { return }
        show(position, sweep, reason: rose ? "priority_lane" : nil)
    }

    private func show(_ position: Int, _ sweep: Sweep, reason: String?) {
        let rate = sweep.drain.rate(at: position)
        if reason == nil {
            shown.update(position: position, rate: rate, at: sweep.milliseconds)
        } else {
            shown = ShownPosition(position: position, rate: rate, at: sweep.milliseconds)
        }
        lastPosition = Int32(clamping: position)
        lastSent = sweep.milliseconds
        let place = LiveFrames.Place(position: position, waiting: sweep.waiting, drain: sweep.drain, at: sweep.at)
        live.encoder.reset()
        LiveFrames.position(place, reason: reason, into: &live.encoder.payload)
        let conflated = live.encoder.finish(.text) { connection.sendReplaceable($0) }
        live.server.measurements.positionFrames.increment()
        if conflated { live.server.measurements.positionsConflated.increment() }
    }

    // MARK: What becomes of a session

    /// The turn has come.
    func admit(until: Timestamp) {
        guard phase == .waiting, let queue else { return }
        phase = .admitted
        connection.dropReplaceable()
        let (server, record, session, user) = (live.server, queue.snapshot.record, session, user)
        let bound = LoopBound(self, to: live.loop)
        Task(executorPreference: live.loop) {
            let now = server.clock.now()
            guard let admission = try? await server.admissions.sign(session: session, user: user, queue: record, at: now, until: until)
            else {
                return bound.onLoop.end(.slowConsumer)  // Never seen to fail; the client comes back and is told again.
            }
            bound.onLoop.sendAdmission(admission, record, until)
        }
    }

    private func sendAdmission(_ admission: String, _ record: QueueRecord, _ until: Timestamp) {
        guard phase == .admitted else { return }
        live.server.measurements.admissions.increment()
        send { LiveFrames.admitted(admission, redirect: record.redirect(with: admission), expiresAt: until, into: &$0) }
    }

    /// The session is over.
    func finish(_ reason: String) {
        guard phase == .waiting || phase == .admitted || phase == .entering else { return }
        send { LiveFrames.ended(reason, into: &$0) }
        end(.sessionEnded)
    }

    /// The ticket does not wait, and no event said why: the snapshot or the store knows.
    func settle() {
        guard phase == .waiting, let queue else { return }
        if case .admitted(let until) = queue.snapshot.state.standing(ticket) { return admit(until: until) }
        let (service, session) = (live.server.service, session)
        let bound = LoopBound(self, to: live.loop)
        phase = .entering
        Task(executorPreference: live.loop) {
            let record = try? await service.session(session)
            bound.onLoop.finish(record?.endedReason ?? "expired")
        }
    }

    func drain(afterSeconds: Double) {
        send { LiveFrames.reconnect(afterSeconds: afterSeconds, into: &$0) }
        end(.restarting)
    }
}

// MARK: - Messages

extension LiveVisitor: WebSocketDelegate {
    func webSocket(received payload: RawSpan, isText: Bool) {
        guard phase != .over, phase != .gone else { return }
        guard messages.take(at: live.loop.second, perSecond: live.server.settings.messagesPerSecond) else {
            return refuse(Problem(.tooManyRequests, "rate_limited", "too many messages", retryAfterSeconds: 5), .rateLimited)
        }
        do throws(Problem) {
            guard isText else { throw Problem(.badRequest, "not_text", "messages are JSON text") }
            var fields = try payload.withUnsafeBytes { raw throws(Problem) in try Fields(raw) }
            try take(try fields.requiredString("type"), &fields)
        } catch {
            refuse(error, error.code == "no_such_queue" ? .noSuchQueue : .badMessage)
        }
    }

    func webSocket(send bytes: [UInt8]) { connection.sendLast(bytes) }

    func webSocketReceivedPong() {}

    func webSocketEnded(_ code: CloseCode, error: WebSocketError?) {
        if error != nil { live.server.measurements.protocolErrors.increment() }
        if phase != .gone { phase = .over }
        connection.closeWhenSent()
    }

    private func take(_ type: String, _ fields: inout Fields) throws(Problem) {
        switch type {
        case "join": try join(&fields)
        case "resume": try resume(&fields)
        case "visibility":
            guard let hidden = try fields.boolean("hidden") else { throw fields.missing("hidden") }
            try fields.finish(known: "type, hidden")
            setHidden(hidden)
        case "leave":
            try fields.finish(known: "type")
            try leave()
        case "ping":
            try fields.finish(known: "type")
            send { LiveFrames.state(staleSince: live.staleSince, into: &$0) }
        default: throw fields.wrong("type", "must be one of join, resume, visibility, leave, ping")
        }
    }

    private func enter() throws(Problem) {
        guard phase == .new else { throw Problem(.badRequest, "already_entered", "this connection has a session already") }
        phase = .entering
        connection.deadline = live.loop.second + live.server.settings.pingSeconds
    }

    private func join(_ fields: inout Fields) throws(Problem) {
        let name = try fields.requiredString("queue")
        var visitor = Visitor()
        visitor.label = try fields.string("user", max: 128)
        visitor.displayName = try fields.string("displayName", max: 128)
        visitor.metadata = try fields.objectText("metadata", max: 2_048)
        isExact = try fields.choice("updates", UpdateMode.self) == .exact
        try fields.finish(known: "type, queue, user, displayName, metadata, updates")
        try enter()
        guard let queue = live.queue(named: name) else { throw .noSuchQueue }
        let (server, id, person) = (live.server, queue.snapshot.record.id, visitor)
        let bound = LoopBound(self, to: live.loop)
        Task(executorPreference: live.loop) {
            do throws(ServiceError) {
                let joined = try await server.service.join(id, visitor: person, holder: .connection)
                server.measurements.joins.increment()
                bound.onLoop.entered(joined.session.id, joined.session.ticket, user: nil, joined.snapshot)
            } catch {
                bound.onLoop.turnedAway(error)
            }
        }
    }

    private func resume(_ fields: inout Fields) throws(Problem) {
        let token = try fields.requiredString("token", max: 600)
        isExact = try fields.choice("updates", UpdateMode.self) == .exact
        try fields.finish(known: "type, token, updates")
        try enter()
        guard let claims = live.server.tokens.read(token, at: live.server.clock.now()) else { return end(.unauthorized) }
        let service = live.server.service
        let bound = LoopBound(self, to: live.loop)
        Task(executorPreference: live.loop) {
            do throws(ServiceError) {
                let snapshot = try await service.resume(claims.queue, claims.ticket)
                bound.onLoop.entered(claims.session, claims.ticket, user: claims.user, snapshot)
            } catch {
                bound.onLoop.finish("closed")
            }
        }
    }

    /// The service has given, or found, the place.
    private func entered(_ session: SessionID, _ ticket: Ticket, user: String?, _ committed: QueueSnapshot) {
        let id = committed.record.id
        guard phase == .entering, let queue = live.queues[id] else {
            // Gone before the answer came: nobody holds the place any more.
            if committed.state.isWaiting(ticket) { live.ticketClosed(id, ticket) }
            return finish("closed")
        }
        self.session = session
        self.ticket = ticket
        self.user = user
        self.queue = queue
        serial = live.server.nextSerial()
        live.server.replaceOthers(queue: id, ticket: ticket, olderThan: serial)
        phase = .waiting
        queue.add(self)
        greet(queue, queue.snapshot.state.head >= committed.state.head ? queue.snapshot : committed)
    }

    /// `joined` always comes first, because it carries the token; who is admitted already stood at the very front.
    private func greet(_ queue: LiveQueue, _ snapshot: QueueSnapshot) {
        let standing = snapshot.state.standing(ticket)
        guard standing != .gone else { return settle() }
        let (now, position) = (live.server.clock.now(), snapshot.state.position(ticket) ?? 1)
        let place = LiveFrames.Place(position: position, waiting: snapshot.state.waitingCount, drain: snapshot.drain, at: now)
        shown = ShownPosition(position: position, rate: snapshot.drain.rate(at: position), at: live.milliseconds)
        lastPosition = Int32(clamping: position)
        lastSent = live.milliseconds
        let token = live.server.token(queue: snapshot.record.id, session: session, ticket: ticket, user: user, at: now)
        send { LiveFrames.joined(session, token: token, snapshot.record, snapshot.state.status, place, into: &$0) }
        for announcement in queue.announcements.reversed() where announcement.expiresAt.map({ $0 > now }) ?? true {
            send { LiveFrames.announcement(announcement, into: &$0) }
        }
        if let since = live.staleSince { send { LiveFrames.state(staleSince: since, into: &$0) } }
        if case .admitted(let until) = standing { admit(until: until) }
    }

    private func turnedAway(_ error: ServiceError) {
        guard phase == .entering else { return }
        let problem = Problem(error)
        send { LiveFrames.error(problem, into: &$0) }
        if problem.code == "no_such_queue" { return end(.noSuchQueue) }
        // The client is told when to try again, on this connection or a new one.
        phase = .new
        connection.deadline = live.loop.second + UInt32(problem.retryAfterSeconds ?? 0) + live.server.settings.firstFrameSeconds
    }

    private func setHidden(_ hidden: Bool) {
        isHidden = hidden
        guard !hidden, phase == .waiting, let queue, let position = queue.snapshot.state.position(ticket) else { return }
        let state = queue.snapshot.state
        let now = live.server.clock.now()
        show(
            position,
            Sweep(milliseconds: live.milliseconds, at: now, waiting: state.waitingCount, drain: state.drain(at: now), isForced: true),
            reason: position > Int(lastPosition) ? "priority_lane" : nil)
    }

    private func leave() throws(Problem) {
        guard phase == .waiting || phase == .admitted, let queue else {
            throw Problem(.badRequest, "no_session", "there is nothing to leave")
        }
        let (service, id, ticket) = (live.server.service, queue.snapshot.record.id, ticket)
        let bound = LoopBound(self, to: live.loop)
        Task(executorPreference: live.loop) {
            do throws(ServiceError) {
                try await service.leave(id, ticket)
            } catch {
                guard error != .refused(.ended) else { return }
                bound.onLoop.tell(Problem(error))
            }
        }
    }

    private func tell(_ problem: Problem) { send { LiveFrames.error(problem, into: &$0) } }
}

enum UpdateMode: String, CaseIterable { case predicted, exact }

/// How many messages came in the current second.
struct RateBucket {
    private var second: UInt32 = 0
    private var used: UInt16 = 0

    /// Counts one more; false where this second has had its share.
    mutating func take(at now: UInt32, perSecond share: Int) -> Bool {
        if now != second {
            second = now
            used = 0
        }
        used &+= 1
        return Int(used) <= share
    }
}

extension QueueRecord {
    /// Where an admitted browser is sent, with its admission.
    func redirect(with admission: String) -> String? {
        redirectURL.map { $0 + ($0.contains("?") ? "&" : "?") + "admission=" + admission }
    }
}
