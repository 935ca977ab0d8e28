import HTTPTypes
import QueueEngine
import QueueService

/// Integrators: sessions, and the events of a queue.
extension ServerCore {
    func addSessionRoutes(_ router: inout Router) {
        router.on(.get, "v1/sessions") { [self] request, _ in try await listSessions(request) }
        router.on(.get, "v1/sessions/{id}") { [self] request, path in
            let key = try await keys.authenticate(request, atLeast: .integrator)
            return ServerCore.answer(try await service.session(try path.session(), tenant: key.tenant))
        }
        router.on(.post, "v1/sessions/{id}/complete") { [self] request, path in
            let key = try await keys.authenticate(request, atLeast: .integrator)
            return ServerCore.answer(try await service.complete(try path.session(), tenant: key.tenant))
        }
        router.on(.delete, "v1/sessions/{id}") { [self] request, path in
            let key = try await keys.authenticate(request, atLeast: .integrator)
            return ServerCore.answer(try await service.remove(try path.session(), tenant: key.tenant))
        }
        router.on(.get, "v1/events") { [self] request, _ in try await events(request) }
    }

    private static func answer(_ session: SessionRecord) -> Response { .json { session.writeMembers(to: &$0) } }

    private func listSessions(_ request: Request) async throws -> Response {
        let key = try await keys.authenticate(request, atLeast: .integrator)
        try request.query.takes(only: ["queue", "status", "limit", "cursor"])
        let limit = try request.integer("limit", in: 1...200, default: 50)
        var status: SessionStatus?
        if let text = try request.query.value("status") {
            guard let known = SessionStatus(rawValue: text) else {
                throw Problem(
                    .badRequest, "invalid_parameter",
                    "status must be one of \(SessionStatus.allCases.map(\.rawValue).joined(separator: ", "))", field: "status")
            }
            status = known
        }
        var queue: QueueID?
        if let text = try request.query.value("queue") {
            queue = try await resolve(text, tenant: key.tenant)
        }
        let cursor = try request.cursor { SessionID($0) }
        let page = try await service.sessions(
            tenant: key.tenant, queue: queue, status: status, after: cursor?.description, limit: limit)
        return .json { bytes in
            bytes.key("items")
            bytes.array(page.items) { bytes, session in bytes.object { session.writeMembers(to: &$0) } }
            bytes.member("cursor", page.next)
        }
    }

    /// `after`, or `Last-Event-ID` from a reader that comes back, is where to go on; without both, now. Of a deleted queue
    /// there is what the reader does not have yet.
    private func events(_ request: Request) async throws -> Response {
        let key = try await keys.authenticate(request, atLeast: .integrator)
        guard let name = try request.query.value("queue") else {
            throw Problem(.badRequest, "missing_parameter", "queue says whose events", field: "queue")
        }
        let log = try await service.log(of: name, tenant: key.tenant)
        let id = log.queue
        var seq = log.seq
        let said = try request.fields[.lastEventID] ?? request.query.value("after")
        if let text = said {
            guard let after = UInt64(text), after < UInt64(Int64.max) else {
                throw Problem(.badRequest, "invalid_parameter", "after must be a whole number", field: "after")
            }
            seq = after
        }
        var epoch: UInt64?
        if let text = try request.query.value("epoch") {
            guard let known = UInt64(text, radix: 16) else {
                throw Problem(.badRequest, "invalid_parameter", "epoch must be as an event told it", field: "epoch")
            }
            epoch = known
        }
        // Asked once here, so that a position that is none is answered with a status. A WebSocket's reader, who could
        // not see that, is told in a frame.
        var isPosition = true
        do throws(ServiceError) { _ = try await service.entries(of: id, tenant: key.tenant, after: seq, epoch: epoch) } catch {
            guard request.wantsUpgrade, case .logRestarted = error else { throw error }
            isPosition = false
        }
        if let consumer = try request.query.value("consumer"), isPosition {
            guard (1...64).contains(consumer.utf8.count) else {
                throw Problem(.badRequest, "invalid_parameter", "consumer must have 1 to 64 bytes", field: "consumer")
            }
            // Retention deletes the log of a deleted queue whoever has yet to read it.
            if !log.isOver {
                try await service.confirm(
                    ConsumerPosition(tenant: key.tenant, queue: id, key: key.id, name: consumer, seq: seq, isExplicit: said != nil))
            }
        }
        var response = Response(.ok, type: "text/event-stream")
        response.fields[.cacheControl] = "no-store"
        // nginx passes on at once what says so.
        response.fields[HTTPField.Name("X-Accel-Buffering")!] = "no"
        response.follower = EventReader(
            service: service, pin: await service.follow(id), queue: id, tenant: key.tenant, key: key.id,
            epoch: epoch ?? log.epoch, seq: seq)
        return response
    }
}
