import HTTPTypes
import QueueService

/// Admins: keys to the API.
extension ServerCore {
    func addKeyRoutes(_ router: inout Router) {
        router.on(.post, "v1/keys") { [self] request, _ in
            let admin = try await keys.authenticate(request, atLeast: .admin)
            var fields = try request.json()
            guard let role = try fields.choice("role", KeyRole.self) else { throw fields.missing("role") }
            let label = try fields.string("label") ?? ""
            guard label != Bootstrap.settingsLabel else { throw fields.wrong("label", "is the one of the key in the settings") }
            try fields.finish(known: "role, label")
            let (key, text) = try await make(role, label, admin.tenant, once: try request.onceByItsKey(admin), by: request.bearer ?? "")
            return .json(.created) { bytes in
                key.writeMembers(to: &bytes)
                bytes.member("key", text)
            }
        }
        router.on(.get, "v1/keys") { [self] request, _ in
            let admin = try await keys.authenticate(request, atLeast: .admin)
            try request.query.takes(only: [])
            let all = try await asking { () throws(StoreError) in try await store.keys() }
            return .json { bytes in
                bytes.key("items")
                bytes.array(all.filter { $0.tenant == admin.tenant }) { bytes, key in bytes.object { key.writeMembers(to: &$0) } }
            }
        }
        router.on(.delete, "v1/keys/{id}") { [self] request, path in
            let admin = try await keys.authenticate(request, atLeast: .admin)
            let id = try path.key()
            guard try await asking({ () throws(StoreError) in try await store.deleteKey(id, tenant: admin.tenant) }) else {
                throw Problem.notFound
            }
            try await asking { () throws(StoreError) in try await keys.readNow() }
            return Response(.noContent)
        }
    }

    /// - Parameter admin: the text of the key that asks.
    private func make(
        _ role: KeyRole, _ label: String, _ tenant: TenantID, once: WriteOnce?, by admin: String
    ) async throws -> (APIKey, text: String) {
        let newID = KeyID(at: clock.now(), random: (random.next(), random.next()))
        let text = once.map { secrets.tokens.newestText(of: newID, $0, admin: admin) } ?? NewKey.text(random)
        let key = APIKey(id: newID, tenant: tenant, role: role, hash: KeyRing.digest(text), label: label)
        let id = try await writingOnce(once, result: "\(key.id)") { receipt throws(StoreError) in try await store.insert(key, receipt) }
        try await asking { () throws(StoreError) in try await keys.readNow() }
        guard let once, id != "\(key.id)" else { return (key, text) }
        let all = try await asking { () throws(StoreError) in try await store.keys() }
        guard let earlier = all.first(where: { "\($0.id)" == id && $0.tenant == tenant }) else { throw ServiceError.alreadyDone }
        func earlierText() -> String? { secrets.tokens.text(of: earlier.id, once, admin: admin, digest: earlier.hash) }
        if let text = earlierText() { return (earlier, text) }
        guard await secrets.refresh() else { throw Problem.storeAway }
        guard let text = earlierText() else { throw ServiceError.alreadyDone }
        return (earlier, text)
    }
}

extension APIKey {
    fileprivate func writeMembers(to bytes: inout [UInt8]) {
        bytes.member("id", id)
        bytes.member("role", role.rawValue)
        bytes.member("label", label)
    }
}
