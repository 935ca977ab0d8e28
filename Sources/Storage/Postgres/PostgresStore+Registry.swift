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
        try await rows(PostgresCall("SELECT id, tenant_id, role, hash, label FROM keys ORDER BY id")).map { row throws(StoreError) in
            guard let role = KeyRole(rawValue: try row.get(2)) else { throw .corrupt("a key's role") }
            return APIKey(
                id: try row.get(0), tenant: try row.get(1), role: role, hash: try row.get(3, as: Bytes.self).bytes, label: try row.get(4))
        }
    }

    public func insert(_ key: APIKey) async throws(StoreError) {
        try await writing(
            PostgresCall("INSERT INTO keys (id, tenant_id, role, hash, label) VALUES ($1, $2, $3, $4, $5)")
                .with(key.id).with(key.tenant).with(key.role.rawValue).with(Bytes(key.hash)).with(key.label))
    }

    public func deleteKey(_ id: KeyID, tenant: TenantID) async throws(StoreError) -> Bool {
        try await writing(PostgresCall("DELETE FROM keys WHERE id = $1 AND tenant_id = $2").with(id).with(tenant)).changedCount == 1
    }

    public func receipt(tenant: TenantID, key: String) async throws(StoreError) -> Receipt? {
        guard
            let row = try await row(
                PostgresCall("SELECT request_hash, result FROM receipts WHERE tenant_id = $1 AND key = $2").with(tenant).with(key))
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

    public func probe() async throws(StoreError) { try await writing(PostgresCall("UPDATE probe SET n = n + 1")) }
}
