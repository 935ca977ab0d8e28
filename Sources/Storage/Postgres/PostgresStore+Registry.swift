import QueueEngine
public import QueueService

/// Tenants, keys, receipts and secrets.
extension PostgresStore {
    public func tenants() async throws(StoreError) -> [Tenant] {
        try await rows(PostgresCall("SELECT id, name FROM tenants ORDER BY id")).map { row throws(StoreError) in
            Tenant(id: try row.get(0), name: try row.get(1))
        }
    }

    public func insert(_ tenant: Tenant) async throws(StoreError) {
        try await writing(PostgresCall("INSERT INTO tenants (id, name) VALUES ($1, $2)").with(tenant.id).with(tenant.name))
    }

    public func keys() async throws(StoreError) -> [APIKey] {
        var keys: [APIKey] = []
        for row in try await rows(PostgresCall("SELECT id, tenant_id, role, hash, label FROM keys ORDER BY id")) {
            // One of a newer version's roles opens nothing here, and stands in nobody's way.
            guard let role = KeyRole(rawValue: try row.get(2)) else { continue }
            keys.append(
                APIKey(
                    id: try row.get(0), tenant: try row.get(1), role: role, hash: try row.get(3, as: Bytes.self).bytes,
                    label: try row.get(4)))
        }
        return keys
    }

    public func known(_ keys: [KeyID]) async throws(StoreError) -> Set<KeyID> {
        var ids = PostgresColumn<KeyID>()
        for key in keys { ids.append(key) }
        let rows = try await rows(PostgresCall("SELECT id FROM keys WHERE id = ANY($1::uuid[])").with(ids))
        return Set(try rows.map { row throws(StoreError) in try row.get(0) })
    }

    public func insert(_ key: APIKey, _ receipt: Receipt?) async throws(StoreError) {
        try await writing(
            PostgresCall(
                """
                WITH given AS (
                    INSERT INTO receipts (tenant_id, key, request_hash, result)
                    SELECT $1::uuid, $2::text, $3::bytea, $4::text WHERE $2::text IS NOT NULL)
                INSERT INTO keys (id, tenant_id, role, hash, label) VALUES ($5, $6, $7, $8, $9)
                """
            ).with(receipt).with(key.id).with(key.tenant).with(key.role.rawValue).with(Bytes(key.hash)).with(key.label))
    }

    public func deleteKey(_ id: KeyID, tenant: TenantID) async throws(StoreError) -> Bool {
        try await writing(PostgresCall("DELETE FROM keys WHERE id = $1 AND tenant_id = $2").with(id).with(tenant)).changedCount == 1
    }

    public func receipt(tenant: TenantID, key: String) async throws(StoreError) -> Receipt? {
        try await receipt(tenant: tenant, key: key, lane: .joins)
    }

    func receipt(tenant: TenantID, key: String, lane: PostgresLane) async throws(StoreError) -> Receipt? {
        guard
            let row = try await row(
                PostgresCall("SELECT request_hash, result FROM receipts WHERE tenant_id = $1 AND key = $2").with(tenant).with(key),
                lane: lane)
        else { return nil }
        return Receipt(tenant: tenant, key: key, requestHash: try row.get(0, as: Bytes.self).bytes, result: try row.get(1))
    }

    public func secrets(_ purpose: String) async throws(StoreError) -> [StoredSecret] {
        try await rows(
            PostgresCall("SELECT id, value, created_at FROM secrets WHERE purpose = $1 ORDER BY created_at DESC, id").with(purpose)
        ).map { row throws(StoreError) in
            StoredSecret(id: try row.get(0), purpose: purpose, value: try row.get(1, as: Bytes.self).bytes, createdAt: try row.get(2))
        }
    }

    public func insert(_ secret: StoredSecret) async throws(StoreError) {
        try await writing(
            PostgresCall("INSERT INTO secrets (id, purpose, value, created_at) VALUES ($1, $2, $3, $4)")
                .with(secret.id).with(secret.purpose).with(Bytes(secret.value)).with(secret.createdAt))
    }

    // MARK: The first of its kind

    private static let firstLock: Int64 = 0x5374_616E_6669_7273  // "Stanfirs"

    /// Under a lock, so that who is second sees who was first.
    private func writingFirst(_ call: PostgresCall) async throws(StoreError) -> Bool {
        let lock = PostgresCall("SELECT pg_advisory_xact_lock($1::bigint)").with(PostgresStore.firstLock)
        do { return try await run([lock, call], seconds: settings.answerSeconds).get()[1].changedCount == 1 } catch {
            throw StoreError(error)
        }
    }

    public func insertFirst(_ tenant: Tenant) async throws(StoreError) -> Bool {
        try await writingFirst(
            PostgresCall("INSERT INTO tenants (id, name) SELECT $1::uuid, $2::text WHERE NOT EXISTS (SELECT FROM tenants)")
                .with(tenant.id).with(tenant.name))
    }

    public func insertFirst(_ key: APIKey) async throws(StoreError) -> Bool {
        try await writingFirst(
            PostgresCall(
                """
                INSERT INTO keys (id, tenant_id, role, hash, label) SELECT $1::uuid, $2::uuid, $3::text, $4::bytea, $5::text
                WHERE NOT EXISTS (SELECT FROM keys WHERE role = $3::text)
                """
            ).with(key.id).with(key.tenant).with(key.role.rawValue).with(Bytes(key.hash)).with(key.label))
    }

    public func insertFirst(_ secret: StoredSecret) async throws(StoreError) -> Bool {
        try await writingFirst(
            PostgresCall(
                """
                INSERT INTO secrets (id, purpose, value, created_at) SELECT $1::text, $2::text, $3::bytea, $4::timestamptz
                WHERE NOT EXISTS (SELECT FROM secrets WHERE purpose = $2::text)
                """
            ).with(secret.id).with(secret.purpose).with(Bytes(secret.value)).with(secret.createdAt))
    }
}

extension PostgresCall {
    /// The four columns of a receipt, or four times NULL.
    func with(_ receipt: Receipt?) -> PostgresCall {
        with(receipt?.tenant).with(receipt?.key).with(receipt.map { Bytes($0.requestHash) }).with(receipt?.result)
    }
}
