import Metrics
import QueueEngine
import QueueService
import Telemetry

/// A request for a place in line, the same over REST and over a WebSocket: its fields, their limits and what it takes to
/// be granted.
struct JoinRequest: Sendable {
    /// Id or slug.
    let queue: String
    let visitor: Visitor
    /// The name of a priority lane; only with a key.
    let lane: String?
    /// The integrator's key; nil: a visitor of whom nothing is known.
    let key: APIKey?
    let once: WriteOnce?

    static let known = "user, displayName, metadata"

    /// Takes the visitor from `fields`, and leaves there what it does not know.
    init(queue: String, _ fields: inout Fields, key: APIKey? = nil, once: WriteOnce? = nil) throws(Problem) {
        self.queue = queue
        self.key = key
        self.once = once
        var visitor = Visitor()
        let user = try fields.string("user", max: 128)
        if key == nil { visitor.label = user } else { visitor.user = user }
        visitor.displayName = try fields.string("displayName", max: 128)
        visitor.metadata = try fields.objectText("metadata", max: 2_048)
        self.visitor = visitor
        lane = key == nil ? nil : try fields.string("lane", max: 64)
        guard !fields.contains("lane") || key != nil else { throw fields.wrong("lane", "is given by the integrator, with a key") }
    }
}

extension ServerCore {
    /// Finds the queue, asks the limits and takes the place.
    ///
    /// The limits are asked once the queue is known: what a stranger invents is counted nowhere.
    func join(_ request: JoinRequest, from group: AddressGroup, holder: QueueService.Holder) async throws(Problem) -> QueueService.Joined {
        let tenant = request.key?.tenant
        let served = served.queue(named: request.queue, tenant: tenant)
        let id: QueueID
        if let served { id = served } else { id = try await resolve(request.queue, tenant: tenant, from: group) }
        if request.key == nil, case .refused(let seconds) = limits.join(group, id) {
            measurements.refused(.joins)
            throw .tooManyJoins(seconds)
        }
        do throws(ServiceError) {
            let joined: QueueService.Joined
            do throws(ServiceError) { joined = try await take(id, request, holder) } catch {
                // It has been put to rest meanwhile.
                guard error == .noSuchQueue, served != nil else { throw error }
                joined = try await take(try await service.resolve(request.queue, tenant: tenant), request, holder)
            }
            measurements.joins.increment()
            return joined
        } catch {
            throw Problem(error)
        }
    }

    private func take(_ queue: QueueID, _ request: JoinRequest, _ holder: QueueService.Holder) async throws(ServiceError)
        -> QueueService.Joined
    {
        try await service.join(queue, lane: request.lane, visitor: request.visitor, holder: holder, once: request.once)
    }

    /// The queue that `name` means, by id or slug; `no_such_queue` also where it is another tenant's.
    ///
    /// - Parameter group: where a caller without a key stands.
    func resolve(_ name: String, tenant: TenantID? = nil, from group: AddressGroup = .none) async throws(Problem) -> QueueID {
        let address = group == .none ? nil : group.rawValue
        do throws(ServiceError) { return try await service.resolve(name, tenant: tenant, address: address) } catch { throw Problem(error) }
    }
}
