import HTTPTypes
import Metrics
import QueueEngine
import QueueService
import Telemetry

/// Visitors without a WebSocket, and integrators who act for them.
extension ServerCore {
    func addVisitorRoutes(_ router: inout Router) {
        router.on(.post, "v1/queues/{id}/join") { [self] request, path in try await join(request, path.text("id")) }
        router.on(.get, "v1/queues/{id}/position") { [self] request, path in
            let who = try await whose(request, path.text("id"), in: request.query)
            let snapshot = try await service.queue(who.queue, knowing: who.ticket, of: who.session)
            await service.poll(who.queue, who.ticket)
            return try await place(of: who, status: .ok, snapshot: snapshot)
        }
        router.on(.post, "v1/queues/{id}/leave") { [self] request, path in
            var body = try request.json()
            var names: [String: String] = [:]
            names["session"] = try body.string("session")
            names["user"] = try body.string("user", max: 128)
            try body.finish(known: "session, user")
            let who = try await whose(request, path.text("id"), in: names)
            _ = try await service.queue(who.queue, knowing: who.ticket, of: who.session)
            try await service.leave(who.queue, who.ticket)
            return Response(.noContent)
        }
    }

    private struct Who {
        let queue: QueueID
        let session: SessionID
        let ticket: Ticket
        let user: String?
    }

    /// By id or slug.
    private func queue(named text: String) async throws -> QueueID {
        try await service.resolve(text)
    }

    private func join(_ request: Request, _ name: String) async throws -> Response {
        let id = try await queue(named: name)
        let key = request.bearer == nil ? nil : try await keys.authenticate(request, atLeast: .integrator)
        if let key { _ = try await service.queue(id, tenant: key.tenant) }
        var fields = try request.json()
        var visitor = Visitor()
        let user = try fields.string("user", max: 128)
        if key == nil { visitor.label = user } else { visitor.user = user }
        visitor.displayName = try fields.string("displayName", max: 128)
        visitor.metadata = try fields.objectText("metadata", max: 2_048)
        let lane = try fields.string("lane", max: 64)
        guard lane == nil || key != nil else { throw fields.wrong("lane", "is given by the integrator, with a key") }
        try fields.finish(known: "user, displayName, metadata, lane")
        if key == nil, request.fields.contains(.idempotencyKey) {
            // The receipt of a stranger's write would hand out that stranger's session.
            throw Problem(.badRequest, "idempotency_needs_key", "Idempotency-Key needs an Authorization")
        }
        if key == nil, case .refused(let seconds) = limits.join(limits.group(request.peer), id) {
            measurements.refused(.joins)
            throw Problem.tooManyJoins(seconds)
        }
        let joined = try await service.join(
            id, lane: lane, visitor: visitor, holder: .polls, once: try key.flatMap { try request.once($0) })
        measurements.joins.increment()
        let session = joined.session
        return try await place(
            of: Who(queue: id, session: session.id, ticket: session.ticket, user: session.visitor.user), status: .created,
            snapshot: joined.snapshot)
    }

    /// Whom a request is about: the bearer of a session's token, or with a key whoever it names.
    private func whose(_ request: Request, _ name: String, in names: [String: String]) async throws -> Who {
        let id = try await queue(named: name)
        if let token = request.bearer, token.hasPrefix(SessionTokens.prefix) {
            guard let claims = tokens.read(token, at: clock.now()), claims.queue == id else { throw Problem.unauthorized }
            return Who(queue: id, session: claims.session, ticket: claims.ticket, user: claims.user)
        }
        let key = try await keys.authenticate(request, atLeast: .integrator)
        _ = try await service.queue(id, tenant: key.tenant)
        let record: SessionRecord
        if let text = names["session"] {
            guard let session = SessionID(text) else { throw ServiceError.noSuchSession }
            record = try await service.session(session, tenant: key.tenant)
        } else if let user = names["user"] {
            record = try await service.session(user: user, queue: id)
        } else {
            throw Problem(.badRequest, "missing_parameter", "session or user says whose place is meant", field: "session")
        }
        guard record.queue == id else { throw ServiceError.noSuchSession }
        return Who(queue: id, session: record.id, ticket: record.ticket, user: record.visitor.user)
    }

    private func place(of who: Who, status: HTTPResponse.Status, snapshot: QueueSnapshot) async throws -> Response {
        let now = clock.now()
        let token = token(queue: who.queue, session: who.session, ticket: who.ticket, user: who.user, at: now)
        switch snapshot.state.standing(who.ticket) {
        case .waiting(let position, _):
            return .json(status) { bytes in
                writeSession(who, token, "waiting", snapshot, &bytes)
                LiveFrames.Line(waiting: snapshot.state.waitingCount, drain: snapshot.drain, at: now).write(position: position, to: &bytes)
            }
        case .admitted(let until):
            if let moment = await service.takeUntoldAdmission(who.queue, who.ticket) {
                measurements.admissionDelaySeconds.record(clock.now() - moment)
                measurements.visitorWaitSeconds.record(moment - who.session.madeAt)
            }
            let admission = try await admissions.sign(
                session: who.session, user: who.user, queue: snapshot.record, at: clock.timeOfDay(now), until: clock.timeOfDay(until))
            return .json(status) { bytes in
                writeSession(who, token, "admitted", snapshot, &bytes)
                bytes.member("admission", admission)
                bytes.member("redirect", snapshot.record.redirect(with: admission))
                bytes.member("expiresAt", until)
            }
        case .gone:
            let record = try await service.session(who.session)
            return .json(status) { bytes in
                bytes.member("session", who.session)
                bytes.member("status", record.status.rawValue)
                bytes.member("reason", ifPresent: record.endedReason)
            }
        }
    }

    private func writeSession(_ who: Who, _ token: String, _ status: String, _ snapshot: QueueSnapshot, _ bytes: inout [UInt8]) {
        bytes.member("session", who.session)
        bytes.member("token", token)
        bytes.member("status", status)
        bytes.member("queue") { bytes in
            bytes.member("id", snapshot.record.id)
            bytes.member("name", snapshot.record.name)
            bytes.member("status", snapshot.state.status.rawValue)
        }
    }
}
