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
            let who = try await whose(request, path.text("id"), in: request.query.value)
            let (snapshot, staleSince) = try await service.together { service throws(ServiceError) in
                let snapshot = try await service.poll(who.queue, who.ticket, of: who.session)
                return (snapshot, snapshot.staleSince(outage: service.outage?.since))
            }
            return try await place(of: who, status: .ok, snapshot: snapshot, staleSince: staleSince)
        }
        router.on(.post, "v1/queues/{id}/leave") { [self] request, path in
            var body = try request.json()
            var names: [String: String] = [:]
            names["session"] = try body.string("session")
            names["user"] = try body.string("user", max: 128)
            try body.finish(known: "session, user")
            let who = try await whose(request, path.text("id")) { names[$0] }
            try await service.together { service throws(ServiceError) in
                let epoch = try await service.queue(who.queue, knowing: who.ticket, of: who.session).record.epoch
                try await service.leave(who.queue, who.ticket, of: who.session, in: epoch)
            }
            return Response(.noContent)
        }
    }

    private struct Who {
        let queue: QueueID
        let session: SessionID
        let ticket: Ticket
        let user: String?
    }

    private func join(_ request: Request, _ name: String) async throws -> Response {
        let key = request.bearer == nil ? nil : try await keys.authenticate(request, atLeast: .integrator)
        // The receipt of a stranger's write would hand out that stranger's session.
        guard key != nil || !request.fields.contains(.idempotencyKey) else {
            throw Problem(.badRequest, "idempotency_needs_key", "Idempotency-Key needs an Authorization")
        }
        var fields = try request.json()
        let join = try JoinRequest(queue: name, &fields, key: key, once: try key.flatMap { try request.once($0) })
        try fields.finish(known: JoinRequest.known + ", lane")
        let joined = try await self.join(join, from: limits.group(request.peer), holder: .polls)
        let session = joined.session
        return try await place(
            of: Who(queue: session.queue, session: session.id, ticket: session.ticket, user: session.visitor.user), status: .created,
            snapshot: joined.snapshot)
    }

    /// Whom a request is about: the bearer of a session's token, or with a key whoever it names.
    private func whose(_ request: Request, _ name: String, in names: (String) throws(Problem) -> String?) async throws -> Who {
        if let token = request.bearer, token.hasPrefix(SessionTokens.prefix) {
            let claims = try await secrets.claims(token, at: clock.now())
            let id = if let id = QueueID(name) { id } else { try await resolve(name, from: limits.group(request.peer)) }
            guard claims.queue == id else { throw Problem.unauthorized }
            return Who(queue: id, session: claims.session, ticket: claims.ticket, user: claims.user)
        }
        let key = try await keys.authenticate(request, atLeast: .integrator)
        let id = try await resolve(name, tenant: key.tenant)
        let record: SessionRecord
        if let text = try names("session") {
            guard let session = SessionID(text) else { throw ServiceError.noSuchSession }
            record = try await service.session(session, tenant: key.tenant)
        } else if let user = try names("user") {
            record = try await service.session(user: user, queue: id)
        } else {
            throw Problem(.badRequest, "missing_parameter", "session or user says whose place is meant", field: "session")
        }
        guard record.queue == id else { throw ServiceError.noSuchSession }
        return Who(queue: id, session: record.id, ticket: record.ticket, user: record.visitor.user)
    }

    private func place(
        of who: Who, status: HTTPResponse.Status, snapshot: QueueSnapshot, staleSince: Timestamp? = nil
    ) async throws -> Response {
        let now = clock.now()
        let token = token(queue: who.queue, session: who.session, ticket: who.ticket, user: who.user, at: now)
        switch snapshot.state.standing(who.ticket) {
        case .waiting(let position, _):
            return .json(status) { bytes in
                writeSession(who, token, "waiting", snapshot, &bytes)
                LiveFrames.Line(waiting: snapshot.state.waitingCount, drain: snapshot.drain(at: now), at: now).write(
                    position: position, to: &bytes)
                bytes.member("staleSince", ifPresent: staleSince)
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
            let end = try await ended.end(of: who.session, epoch: snapshot.record.epoch)
            return .json(status) { bytes in
                bytes.member("session", who.session)
                bytes.member("status", end.status.rawValue)
                bytes.member("reason", ifPresent: end.reason)
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
            bytes.member("settleSeconds", snapshot.state.configuration.settleSeconds)
            bytes.member("graceSeconds", snapshot.state.configuration.graceSeconds)
        }
    }
}
