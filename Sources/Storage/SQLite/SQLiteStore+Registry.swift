import Foundation
import GRDB
import QueueEngine
public import QueueService

/// Tenants, keys, receipts and secrets.
extension SQLiteStore {
    public func tenants() async throws(StoreError) -> [Tenant] {
        try await reading { db in
            try Row.fetchAll(db, sql: "SELECT id, name FROM tenants ORDER BY id").compactMap { row in
                TenantID(bytes: row[0] as Data).map { Tenant(id: $0, name: row[1]) }
            }
        }
    }

    public func insert(_ tenant: Tenant) async throws(StoreError) {
        try await writing { db in
            try db.execute(sql: "INSERT INTO tenants (id, name) VALUES (?, ?)", arguments: [tenant.id.data, tenant.name])
        }
    }

    public func keys() async throws(StoreError) -> [APIKey] {
        try await reading { db in
            try Row.fetchAll(db, sql: "SELECT id, tenant_id, role, hash, label FROM keys ORDER BY id").compactMap { row in
                guard let id = KeyID(bytes: row[0] as Data), let tenant = TenantID(bytes: row[1] as Data),
                    let role = KeyRole(rawValue: row[2])
                else { return nil }
                return APIKey(id: id, tenant: tenant, role: role, hash: Array(row[3] as Data), label: row[4])
            }
        }
    }

    public func known(_ keys: [KeyID]) async throws(StoreError) -> Set<KeyID> {
        try await reading { db in
            let statement = try db.cachedStatement(sql: "SELECT 1 FROM keys WHERE id = ?")
            return Set(try keys.filter { try Int.fetchOne(statement, arguments: [$0.data]) != nil })
        }
    }

    public func insert(_ key: APIKey, _ receipt: Receipt?) async throws(StoreError) {
        try await writing { db in
            try SQLiteStore.insert(receipt, db)
            try db.execute(
                sql: "INSERT INTO keys (id, tenant_id, role, hash, label) VALUES (?, ?, ?, ?, ?)",
                arguments: [key.id.data, key.tenant.data, key.role.rawValue, Data(key.hash), key.label])
        }
    }

    public func deleteKey(_ id: KeyID, tenant: TenantID) async throws(StoreError) -> Bool {
        try await writing { db in
            try db.execute(sql: "DELETE FROM keys WHERE id = ? AND tenant_id = ?", arguments: [id.data, tenant.data])
            return db.changesCount == 1
        }
    }

    public func receipt(tenant: TenantID, key: String) async throws(StoreError) -> Receipt? {
        try await reading { db in
            try Row.fetchOne(
                db, sql: "SELECT request_hash, result FROM receipts WHERE tenant_id = ? AND key = ?",
                arguments: [tenant.data, key]
            ).map { Receipt(tenant: tenant, key: key, requestHash: Array($0[0] as Data), result: $0[1]) }
        }
    }

    static func insert(_ receipt: Receipt?, _ db: Database) throws {
        guard let receipt else { return }
        try db.cachedStatement(
            sql: "INSERT INTO receipts (tenant_id, key, request_hash, result, created_at) VALUES (?, ?, ?, ?, ?)"
        ).execute(arguments: [receipt.tenant.data, receipt.key, Data(receipt.requestHash), receipt.result, SQLiteStore.now])
    }

    public func secrets(_ purpose: String) async throws(StoreError) -> [StoredSecret] {
        try await reading { db in
            try Row.fetchAll(
                db, sql: "SELECT id, value, created_at FROM secrets WHERE purpose = ? ORDER BY created_at DESC, id",
                arguments: [purpose]
            ).map {
                StoredSecret(id: $0[0], purpose: purpose, value: Array($0[1] as Data), createdAt: Timestamp(microseconds: $0[2]))
            }
        }
    }

    public func insert(_ secret: StoredSecret) async throws(StoreError) {
        try await writing { db in
            try db.execute(
                sql: "INSERT INTO secrets (id, purpose, value, created_at) VALUES (?, ?, ?, ?)",
                arguments: [secret.id, secret.purpose, Data(secret.value), secret.createdAt.microseconds])
        }
    }

    // MARK: The first of its kind

    public func insertFirst(_ tenant: Tenant) async throws(StoreError) -> Bool {
        try await writing { db in
            try db.execute(
                sql: "INSERT INTO tenants (id, name) SELECT ?, ? WHERE NOT EXISTS (SELECT 1 FROM tenants)",
                arguments: [tenant.id.data, tenant.name])
            return db.changesCount == 1
        }
    }

    public func insertFirst(_ key: APIKey) async throws(StoreError) -> Bool {
        try await writing { db in
            try db.execute(
                sql: """
                    INSERT INTO keys (id, tenant_id, role, hash, label) SELECT ?1, ?2, ?3, ?4, ?5
                    WHERE NOT EXISTS (SELECT 1 FROM keys WHERE role = ?3)
                    """, arguments: [key.id.data, key.tenant.data, key.role.rawValue, Data(key.hash), key.label])
            return db.changesCount == 1
        }
    }

    public func insertFirst(_ secret: StoredSecret) async throws(StoreError) -> Bool {
        try await writing { db in
            try db.execute(
                sql: """
                    INSERT INTO secrets (id, purpose, value, created_at) SELECT ?1, ?2, ?3, ?4
                    WHERE NOT EXISTS (SELECT 1 FROM secrets WHERE purpose = ?2)
                    """, arguments: [secret.id, secret.purpose, Data(secret.value), secret.createdAt.microseconds])
            return db.changesCount == 1
        }
    }
}
