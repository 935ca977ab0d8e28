import EventLoop
import HTTPTypes
import Metrics
import QueueEngine
import QueueService
import Telemetry
import WebSocketProtocol

extension LiveVisitor {
    func read(_ bytes: inout MutableRawSpan) {
        var position = 0
        var inflated = webSocket.deflate?.inflatedBytes ?? 0
        while let event = webSocket.next(&bytes, &position) {
            switch event {
            case .message(let payload, let isText):
                let count = (webSocket.deflate?.inflatedBytes ?? 0) - inflated
                inflated += count
                // A few bytes of the network may have brought many.
                guard self.bytes.take(count, at: live.milliseconds, live.server.settings.limits.bytes) else { return refuseFlood("bytes") }
                payload.withUnsafeBytes(in: bytes) { take($0, isText: isText) }
            case .ping(let pong): if takesControl() { pong.withUnsafeBytes { send($0) } }
            case .pong: _ = takesControl()
            case .ended(let code, let reply, let error): ended(code, reply, error)
            }
        }
    }

    private func takesControl() -> Bool {
        guard phase != .over, phase != .gone else { return false }
        if controls.take(at: live.milliseconds, live.server.settings.limits.controls) { return true }
        refuseFlood("pings")
        return false
    }

    private func ended(_ code: CloseCode, _ reply: [UInt8]?, _ error: WebSocketError?) {
        if phase != .gone, phase != .over { live.server.measurements.closes.closed(code.rawValue) }
        if error != nil { live.server.measurements.protocolErrors.increment() }
        if phase != .gone { phase = .over }
        connection.end(reply, error)
    }

    private func take(_ message: UnsafeRawBufferPointer, isText: Bool) {
        guard phase != .over, phase != .gone else { return }
        guard messages.take(at: live.milliseconds, live.server.settings.limits.messages) else { return refuseFlood("messages") }
        do throws(Problem) {
            guard isText else { throw Problem(.badRequest, "not_text", "messages are JSON text") }
            var fields = try Fields(message)
            try take(try fields.requiredString("type"), &fields)
        } catch {
            refuse(error, error.code == "no_such_queue" ? .noSuchQueue : .badMessage)
        }
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
            send { LiveFrames.state(staleSince: queue?.staleSince ?? live.staleSince, into: &$0) }
        default: throw fields.wrong("type", "must be one of join, resume, visibility, leave, ping")
        }
    }

    private func enter() throws(Problem) {
        guard phase == .new else { throw Problem(.badRequest, "already_entered", "this connection has a session already") }
        phase = .entering
        cameAt = live.server.clock.now()
        connection.deadline = live.loop.second + live.server.settings.pingSeconds
    }

    private func join(_ fields: inout Fields) throws(Problem) {
        let request = try JoinRequest(queue: try fields.requiredString("queue"), &fields)
        isExact = try fields.choice("updates", UpdateMode.self) == .exact
        try fields.finish(known: "type, queue, updates, \(JoinRequest.known)")
        try enter()
        // The loop need not have the queue yet: it is told of it before the answer to the join comes.
        let (server, group) = (live.server, AddressGroup(rawValue: connection.tag))
        let bound = LoopBound(self, to: live.loop)
        Task(executorPreference: live.loop) {
            do throws(Problem) {
                let joined = try await server.join(request, from: group, holder: .connection)
                bound.onLoop.entered(joined.session.id, joined.session.ticket, user: nil, joined.snapshot, isNew: true)
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
        guard live.server.tokens.reading(token, at: cameAt) != .invalid else { return end(.unauthorized) }
        let (service, secrets, ended, now) = (live.server.service, live.server.secrets, live.server.ended, cameAt)
        let bound = LoopBound(self, to: live.loop)
        Task(executorPreference: live.loop) {
            let claims: SessionClaims
            do throws(Problem) { claims = try await secrets.claims(token, at: now) } catch {
                return error == .unauthorized ? bound.onLoop.end(.unauthorized) : bound.onLoop.turnedAway(error)
            }
            do throws(ServiceError) {
                let snapshot = try await service.resume(claims.queue, claims.ticket, of: claims.session, at: now)
                bound.onLoop.entered(claims.session, claims.ticket, user: claims.user, snapshot)
            } catch {
                switch error {
                case .noSuchQueue:
                    // Deleting a queue has ended its sessions, each in its own way.
                    do throws(ServiceError) {
                        bound.onLoop.finish(try await ended.end(of: claims.session, epoch: 0).reason ?? "closed")
                    } catch {
                        if error == .noSuchSession { bound.onLoop.finish("closed") } else { bound.onLoop.turnedAway(Problem(error)) }
                    }
                case .noSuchSession: bound.onLoop.finish("expired")
                default: bound.onLoop.turnedAway(Problem(error))
                }
            }
        }
    }

    /// The service has given, or found, the place.
    private func entered(_ session: SessionID, _ ticket: Ticket, user: String?, _ committed: QueueSnapshot, isNew: Bool = false) {
        let id = committed.record.id
        guard phase == .entering, let queue = live.queues[id] else {
            // Gone before the answer came: nobody holds the place any more.
            if committed.state.isWaiting(ticket) { live.ticketClosed(committed, ticket) }
            return finish("closed")
        }
        // The queue's history has become another one meanwhile, in which nobody is held yet.
        guard committed.record.epoch == queue.snapshot.record.epoch else { return drain(afterSeconds: .random(in: 0.5...3)) }
        // The order of words to this loop is the service's: a queue that is not there has been removed since.
        holdsTicket = true
        self.session = session
        self.ticket = ticket
        self.user = user
        self.queue = queue
        serial = live.server.nextSerial()
        live.server.replaceOthers(queue: id, ticket: ticket, olderThan: entry)
        phase = .waiting
        queue.add(self)
        let snapshot = queue.snapshot.state.head >= committed.state.head ? queue.snapshot : committed
        connection.together { greet(queue, snapshot, isNew: isNew) }
    }

    /// `joined` always comes first, because it carries the token; who is admitted already stood at the very front.
    private func greet(_ queue: LiveQueue, _ snapshot: QueueSnapshot, isNew: Bool) {
        let standing = snapshot.state.standing(ticket)
        guard standing != .gone else { return settle() }
        let (now, position) = (live.server.clock.now(), snapshot.state.position(ticket) ?? 1)
        let drain = snapshot.drain(at: now)
        let line = LiveFrames.Line(waiting: snapshot.state.waitingCount, drain: drain, at: now)
        shown = ShownPosition(position: position, rate: drain.rate(at: position), at: live.milliseconds)
        lastPosition = Int32(clamping: position)
        lastSent = live.milliseconds
        let token = live.server.token(queue: snapshot.record.id, session: session, ticket: ticket, user: user, at: now)
        let reason = isNew ? nil : reasonToRise(snapshot)
        send {
            LiveFrames.joined(
                session, token: token, snapshot.record, snapshot.state.status, position: position, line, reason: reason, into: &$0)
        }
        for announcement in queue.announcements.reversed() where announcement.expiresAt.map({ $0 > now }) ?? true {
            send { LiveFrames.announcement(announcement, into: &$0) }
        }
        if let since = queue.staleSince { send { LiveFrames.state(staleSince: since, into: &$0) } }
        // Who has just joined and is in was let in by the last events, if not by the very last.
        if case .admitted(let until) = standing { admit(until: until, at: isNew ? snapshot.state.lastEventAt : nil) }
    }

    /// What was told last is not known here. Whoever can have been overtaken meanwhile is shown the place as it is, and so
    /// is everyone of a line that was restored: those who had left it since the copy are in it again.
    private func reasonToRise(_ snapshot: QueueSnapshot) -> String? {
        if snapshot.state.isBehindAnotherLane(ticket) { return LiveFrames.overtaken }
        return snapshot.record.isRestored ? LiveFrames.restored : nil
    }

    private func turnedAway(_ problem: Problem) {
        guard phase == .entering else { return }
        guard errors.take(at: live.milliseconds, live.server.settings.limits.errors) else { return refuseFlood("errors") }
        send { LiveFrames.error(problem, into: &$0) }
        if problem.code == "no_such_queue" { return end(.noSuchQueue) }
        // The client is told when to try again, on this connection or a new one.
        phase = .new
        connection.deadline = live.loop.second + UInt32(problem.retryAfterSeconds ?? 0) + live.server.settings.firstFrameSeconds
    }

    private func setHidden(_ hidden: Bool) {
        isHidden = hidden
        guard queue?.isRetired != true, !hidden, phase == .waiting, let queue, let position = queue.snapshot.state.position(ticket) else {
            return
        }
        let reason = position > Int(lastPosition) ? LiveFrames.overtaken : nil
        show(position, SweepContext(queue, isForced: true), reason: reason, &live.positionFrames)
        live.sendPositionFrames()
    }

    private func leave() throws(Problem) {
        guard phase == .waiting || phase == .admitted, let queue else {
            throw Problem(.badRequest, "no_session", "there is nothing to leave")
        }
        // It is about to be told that the queue is not this one any more.
        guard !queue.isRetired else { return }
        let (service, record, ticket) = (live.server.service, queue.snapshot.record, ticket)
        let bound = LoopBound(self, to: live.loop)
        Task(executorPreference: live.loop) {
            do throws(ServiceError) {
                try await service.leave(record.id, ticket, in: record.epoch)
            } catch {
                guard error != .refused(.ended) else { return }
                bound.onLoop.tell(Problem(error))
            }
        }
    }

    private func tell(_ problem: Problem) { send { LiveFrames.error(problem, into: &$0) } }
}

enum UpdateMode: String, CaseIterable { case predicted, exact }
