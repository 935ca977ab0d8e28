import Foundation
import HTTPTypes
import QueueEngine
import QueueService

/// Operators: queues and what is said in them.
extension ServerCore {
    func addQueueRoutes(_ router: inout Router) {
        router.on(.post, "v1/queues") { [self] request, _ in try await createQueue(request) }
        router.on(.get, "v1/queues") { [self] request, _ in try await listQueues(request) }
        router.on(.get, "v1/queues/{id}") { [self] request, path in
            let key = try await keys.authenticate(request, atLeast: .integrator)
            let name = path.text("id")
            let (snapshot, average) = try await service.together { service throws(ServiceError) in
                let snapshot = try await service.queue(named: name, tenant: key.tenant)
                return (snapshot, try? await service.averageWait(of: snapshot.record.id))
            }
            return answer(snapshot, average)
        }
        router.on(.patch, "v1/queues/{id}") { [self] request, path in
            let key = try await keys.authenticate(request, atLeast: .operator)
            let id = try await path.queueForCommand(of: key, in: self)
            let settings = try QueueSettings(request.json(), isNew: false)
            let snapshot = try await service.update(id, tenant: key.tenant, if: try request.condition()) { record throws(ServiceError) in
                try settings.apply(to: &record)
            }
            return try await answer(snapshot)
        }
        router.on(.delete, "v1/queues/{id}") { [self] request, path in
            let key = try await keys.authenticate(request, atLeast: .operator)
            try await service.delete(named: path.text("id"), tenant: key.tenant, if: try request.condition())
            return Response(.noContent)
        }
        for verb in QueueService.Verb.allCases {
            router.on(.post, "v1/queues/{id}/\(verb.rawValue)") { [self] request, path in
                let key = try await keys.authenticate(request, atLeast: .operator)
                try request.json().finish(known: "nothing")
                let id = try await path.queueForCommand(of: key, in: self)
                return try await answer(try await service.perform(verb, on: id, tenant: key.tenant, if: try request.condition()))
            }
        }
        router.on(.post, "v1/queues/{id}/announcements") { [self] request, path in try await announce(request, path) }
        router.on(.get, "v1/queues/{id}/announcements") { [self] request, path in
            let key = try await keys.authenticate(request, atLeast: .integrator)
            try request.query.takes(only: [])
            let id = try await path.queue(of: key, in: self)
            let announcements = try await service.announcements(of: id)
            return .json { bytes in
                bytes.key("items")
                bytes.array(announcements) { bytes, item in bytes.object { item.writeMembers(to: &$0) } }
            }
        }
        router.on(.get, "v1/queues/{id}/stats") { [self] request, path in try await statistics(request, path) }
    }

    private func answer(_ snapshot: QueueSnapshot, _ status: HTTPResponse.Status = .ok) async throws -> Response {
        // What was asked for has been done: an answer that lacks the mean is better than one that says it was not.
        return answer(snapshot, try? await service.averageWait(of: snapshot.record.id), status)
    }

    private func answer(_ snapshot: QueueSnapshot, _ average: Double?, _ status: HTTPResponse.Status = .ok) -> Response {
        var response = Response.json(status) { snapshot.writeMembers(averageWait: average, to: &$0) }
        response.fields[.eTag] = "\"\(snapshot.version)\""
        if status == .created { response.fields[.location] = "\(settings.basePath)/v1/queues/\(snapshot.record.id)" }
        return response
    }

    private func createQueue(_ request: Request) async throws -> Response {
        let key = try await keys.authenticate(request, atLeast: .operator)
        let settings = try QueueSettings(request.json(), isNew: true)
        let snapshot = try await service.create(tenant: key.tenant, once: try request.once(key)) { record throws(ServiceError) in
            try settings.apply(to: &record)
        }
        return try await answer(snapshot, .created)
    }

    private func listQueues(_ request: Request) async throws -> Response {
        let key = try await keys.authenticate(request, atLeast: .integrator)
        try request.query.takes(only: ["limit", "cursor"])
        let limit = try request.integer("limit", in: 1...200, default: 50)
        let cursor = try request.cursor { QueueID($0) }
        let queues = try await service.queues(of: key.tenant, after: cursor, limit: limit + 1)
        let page = Array(queues.prefix(limit))
        let waits = try await service.averageWaits(of: page)
        return .json { bytes in
            bytes.key("items")
            bytes.array(page) { bytes, queue in bytes.object { queue.writeMembers(averageWait: waits[queue.record.id], to: &$0) } }
            bytes.member("cursor", queues.count > limit ? queues[limit - 1].record.id : nil)
        }
    }

    private func announce(_ request: Request, _ path: Router.Parameters) async throws -> Response {
        let key = try await keys.authenticate(request, atLeast: .operator)
        let id = try await path.queueForCommand(of: key, in: self)
        var fields = try request.json()
        let text = try fields.requiredString("text", max: 2_000)
        let severity = try fields.choice("severity", Severity.self) ?? .info
        let expiresAt = try fields.time("expiresAt")
        if let expiresAt, expiresAt <= clock.now() { throw fields.wrong("expiresAt", "must lie in the future") }
        try fields.finish(known: "text, severity, expiresAt")
        let announcement = try await service.announce(
            text, severity: severity, expiresAt: expiresAt, to: id, tenant: key.tenant, once: try request.once(key))
        return .json(.created) { announcement.writeMembers(to: &$0) }
    }

    private func statistics(_ request: Request, _ path: Router.Parameters) async throws -> Response {
        let key = try await keys.authenticate(request, atLeast: .integrator)
        let name = path.text("id")
        let (snapshot, average) = try await service.together { service throws(ServiceError) in
            let snapshot = try await service.queue(named: name, tenant: key.tenant)
            return (snapshot, try await service.averageWait(of: snapshot.record.id))
        }
        let (state, now) = (snapshot.state, clock.now())
        return .json { bytes in
            snapshot.writeLoad(averageWait: average, to: &bytes)
            bytes.member("status", state.status.rawValue)
            bytes.member("maxConcurrentUsers", state.configuration.maxConcurrentUsers)
            bytes.member("releaseRatePerMinute", state.configuration.releaseRatePerMinute)
            bytes.member("absent", state.absentCount)
            bytes.member("joined", state.joinedCount)
            bytes.member("releasesPerSecond", state.drain(at: now).rate(at: 1))
            bytes.member("seq", state.head)
            bytes.member("at", now)
        }
    }
}

extension Request {
    /// What `If-Match` asks for (RFC 9110 §13.1.1); nil: nothing. A weak tag matches nothing.
    func condition() throws(Problem) -> QueueCondition? {
        let values = fields[values: .ifMatch]
        guard !values.isEmpty else { return nil }
        guard let tags = EntityTags(values) else {
            throw Problem(.badRequest, "invalid_if_match", "If-Match must be * or a list of at most 64 entity tags, as ETag has them")
        }
        return tags.isAny ? .exists : .version(tags.strong)
    }

    /// The write's `Idempotency-Key`, with a digest of what was asked.
    func once(_ key: APIKey) throws -> WriteOnce? { try once(key, digesting: "") }

    /// The same where only the key that asked is answered again: for another one it is another request.
    func onceByItsKey(_ key: APIKey) throws -> WriteOnce? { try once(key, digesting: "\(key.id)\n") }

    private func once(_ key: APIKey, digesting more: String) throws -> WriteOnce? {
        guard let text = fields[.idempotencyKey] else { return nil }
        guard (1...128).contains(text.utf8.count) else {
            throw Problem(.badRequest, "invalid_idempotency_key", "Idempotency-Key must be 1 to 128 bytes")
        }
        let asked = "\(method.rawValue) \(segments.joined(separator: "/"))\n\(more)" + String(decoding: body, as: UTF8.self)
        return WriteOnce(tenant: key.tenant, key: text, requestHash: KeyRing.digest(asked))
    }
}
