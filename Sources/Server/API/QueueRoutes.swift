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
            return try await answer(try await service.queue(try path.queue(), tenant: key.tenant))
        }
        router.on(.patch, "v1/queues/{id}") { [self] request, path in
            let key = try await keys.authenticate(request, atLeast: .operator)
            let id = try path.queue()
            let settings = try QueueSettings(request.json(), existing: try await service.queue(id, tenant: key.tenant).record)
            return try await answer(try await service.update(id, tenant: key.tenant) { settings.apply(to: &$0) })
        }
        router.on(.delete, "v1/queues/{id}") { [self] request, path in
            let key = try await keys.authenticate(request, atLeast: .operator)
            try await service.delete(try path.queue(), tenant: key.tenant)
            return Response(.noContent)
        }
        for verb in QueueService.Verb.allCases {
            router.on(.post, "v1/queues/{id}/\(verb.rawValue)") { [self] request, path in
                let key = try await keys.authenticate(request, atLeast: .operator)
                try request.json().finish(known: "nothing")
                return try await answer(try await service.perform(verb, on: try path.queue(), tenant: key.tenant))
            }
        }
        router.on(.post, "v1/queues/{id}/announcements") { [self] request, path in try await announce(request, try path.queue()) }
        router.on(.get, "v1/queues/{id}/announcements") { [self] request, path in
            let key = try await keys.authenticate(request, atLeast: .integrator)
            let id = try path.queue()
            _ = try await service.queue(id, tenant: key.tenant)
            let announcements = try await service.announcements(of: id)
            return .json { bytes in
                bytes.key("items")
                bytes.array(announcements) { bytes, item in bytes.object { item.writeMembers(to: &$0) } }
            }
        }
        router.on(.get, "v1/queues/{id}/stats") { [self] request, path in try await statistics(request, try path.queue()) }
    }

    private func answer(_ snapshot: QueueSnapshot, _ status: HTTPResponse.Status = .ok) async throws -> Response {
        let average = try await service.averageWait(of: snapshot.record.id)
        var response = Response.json(status) { snapshot.writeMembers(averageWait: average, to: &$0) }
        if status == .created { response.fields[.location] = "/v1/queues/\(snapshot.record.id)" }
        return response
    }

    private func createQueue(_ request: Request) async throws -> Response {
        let key = try await keys.authenticate(request, atLeast: .operator)
        let settings = try QueueSettings(request.json(), existing: nil)
        let snapshot = try await service.create(
            tenant: key.tenant, slug: settings.slug, name: settings.name ?? "", description: settings.description ?? "",
            redirectURL: settings.redirectURL ?? nil, configuration: settings.configuration, once: try request.once(key))
        return try await answer(snapshot, .created)
    }

    private func listQueues(_ request: Request) async throws -> Response {
        let key = try await keys.authenticate(request, atLeast: .integrator)
        let limit = try request.integer("limit", in: 1...200, default: 50)
        let cursor = request.query["cursor"].flatMap { QueueID($0) }
        let queues = await service.queues(of: key.tenant, after: cursor, limit: limit + 1)
        return .json { bytes in
            bytes.key("items")
            bytes.array(queues.prefix(limit)) { bytes, queue in bytes.object { queue.writeMembers(averageWait: nil, to: &$0) } }
            bytes.member("cursor", queues.count > limit ? queues[limit - 1].record.id : nil)
        }
    }

    private func announce(_ request: Request, _ id: QueueID) async throws -> Response {
        let key = try await keys.authenticate(request, atLeast: .operator)
        var fields = try request.json()
        let text = try fields.requiredString("text", max: 2_000)
        let severity = try fields.choice("severity", Severity.self) ?? .info
        let expiresAt = try fields.time("expiresAt")
        try fields.finish(known: "text, severity, expiresAt")
        let announcement = try await service.announce(
            text, severity: severity, expiresAt: expiresAt, to: id, tenant: key.tenant, once: try request.once(key))
        return .json(.created) { announcement.writeMembers(to: &$0) }
    }

    private func statistics(_ request: Request, _ id: QueueID) async throws -> Response {
        let key = try await keys.authenticate(request, atLeast: .integrator)
        let snapshot = try await service.queue(id, tenant: key.tenant)
        let average = try await service.averageWait(of: id)
        let (state, now) = (snapshot.state, clock.now())
        return .json { bytes in
            snapshot.writeLoad(averageWait: average, to: &bytes)
            bytes.member("status", state.status.rawValue)
            bytes.member("maxConcurrentUsers", state.configuration.maxConcurrentUsers)
            bytes.member("releaseRatePerMinute", state.configuration.releaseRatePerMinute)
            bytes.member("absent", state.absentCount)
            bytes.member("joined", state.joinedCount)
            bytes.member("releasesPerSecond", state.drain(at: now).releases)
            bytes.member("seq", state.head)
            bytes.member("at", now)
        }
    }
}

/// What a body says about a queue; what it does not name stays as it is.
struct QueueSettings: Sendable {
    var slug: String?
    var name: String?
    var description: String?
    /// nil: not named; .some(nil): taken away.
    var redirectURL: String??
    var configuration: QueueConfiguration

    private static let known = """
        name, slug, description, maxConcurrentUsers, releaseRatePerMinute, graceSeconds, admissionTTLSeconds, maxWaiting, \
        opensAt, closesAt, priorityLanes, redirectURL
        """

    init(_ body: Fields, existing: QueueRecord?) throws(Problem) {
        var fields = body
        var configuration = existing?.configuration ?? QueueConfiguration()
        name = try existing == nil ? fields.requiredString("name") : fields.string("name")
        description = try fields.string("description", max: 2_000)
        if let text = try fields.string("slug", max: 64) {
            guard text.wholeMatch(of: /[a-z0-9]([a-z0-9-]*[a-z0-9])?/) != nil else {
                throw fields.wrong("slug", "must be lower case letters, digits and hyphens")
            }
            slug = text
        }
        if fields.takeNull("redirectURL") {
            redirectURL = .some(nil)
        } else if let text = try fields.string("redirectURL", max: 1_000) {
            guard text.wholeMatch(of: /https?:\/\/[A-Za-z0-9.\[\]:-]+(\/[!-~]*)?/) != nil, !text.contains("#") else {
                throw fields.wrong("redirectURL", "must be an http or https address without a fragment")
            }
            redirectURL = .some(text)
        }
        configuration.maxConcurrentUsers = try fields.integer("maxConcurrentUsers", in: 1...10_000_000) ?? configuration.maxConcurrentUsers
        configuration.releaseRatePerMinute =
            try fields.integer("releaseRatePerMinute", in: 0...1_000_000) ?? configuration.releaseRatePerMinute
        configuration.graceSeconds = try fields.integer("graceSeconds", in: 5...86_400) ?? configuration.graceSeconds
        configuration.admissionTTLSeconds = try fields.integer("admissionTTLSeconds", in: 5...604_800) ?? configuration.admissionTTLSeconds
        configuration.maxWaiting =
            fields.takeNull("maxWaiting") ? nil : try fields.integer("maxWaiting", in: 0...100_000_000) ?? configuration.maxWaiting
        configuration.opensAt = fields.takeNull("opensAt") ? nil : try fields.time("opensAt") ?? configuration.opensAt
        configuration.closesAt = fields.takeNull("closesAt") ? nil : try fields.time("closesAt") ?? configuration.closesAt
        try QueueSettings.lanes(&fields, &configuration)
        try fields.finish(known: QueueSettings.known)
        self.configuration = configuration
    }

    private static func lanes(_ fields: inout Fields, _ configuration: inout QueueConfiguration) throws(Problem) {
        guard let objects = try fields.objects("priorityLanes", max: 8) else { return }
        let before = configuration.priorityLanes
        var lanes: [PriorityLane] = []
        for var object in objects {
            let lane = PriorityLane(
                name: try object.requiredString("name", max: 64), sharePercent: try object.integer("sharePercent", in: 1...100) ?? 100)
            try object.finish(known: "name, sharePercent")
            guard !lanes.contains(where: { $0.name == lane.name }) else { throw fields.wrong("priorityLanes", "must have different names") }
            lanes.append(lane)
        }
        // A lane's place in the list is in its tickets: lanes are added at the end and never taken away.
        guard lanes.count >= before.count, zip(before, lanes).allSatisfy({ $0.name == $1.name }) else {
            throw fields.wrong("priorityLanes", "must keep the lanes that there are, in their order")
        }
        guard lanes.filter({ $0.sharePercent < 100 }).reduce(0, { $0 + $1.sharePercent }) < 100 else {
            throw fields.wrong("priorityLanes", "must leave a share for the general lane")
        }
        configuration.priorityLanes = lanes
    }

    func apply(to record: inout QueueRecord) {
        record.slug = slug ?? record.slug
        record.name = name ?? record.name
        record.description = description ?? record.description
        if let redirectURL { record.redirectURL = redirectURL }
        record.configuration = configuration
    }
}

extension Request {
    /// The write's `Idempotency-Key`, with a digest of what was asked.
    func once(_ key: APIKey) throws -> WriteOnce? {
        guard let text = fields[HTTPField.Name("Idempotency-Key")!] else { return nil }
        guard (1...128).contains(text.utf8.count) else {
            throw Problem(.badRequest, "invalid_idempotency_key", "Idempotency-Key must be 1 to 128 bytes")
        }
        return WriteOnce(
            tenant: key.tenant, key: text,
            requestHash: KeyRing.digest("\(method.rawValue) \(segments.joined(separator: "/"))\n" + String(decoding: body, as: UTF8.self)))
    }
}
