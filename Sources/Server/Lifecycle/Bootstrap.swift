import Foundation
import QueueEngine
public import QueueService

/// What a store must hold before it can be served from: a tenant, a key, secrets.
struct Bootstrap {
    let store: any QueueStore
    let random: any RandomSource
    let now: Timestamp

    /// The first tenant, made where there is none.
    func tenant() async throws(StoreError) -> (id: TenantID, isNew: Bool) {
        if let first = try await store.tenants().first { return (first.id, false) }
        let tenant = Tenant(id: TenantID(at: now, random: (random.next(), random.next())), name: "default")
        if try await store.insertFirst(tenant) { return (tenant.id, true) }
        return (try await store.tenants()[0].id, false)
    }

    /// What the key in the settings is labelled with, and no other one.
    static let settingsLabel = "from the settings"

    /// Makes sure that there is an admin's key. Returns one that was just made: it is shown once and never again.
    func adminKey(_ fixed: String?, tenant: TenantID) async throws(StoreError) -> String? {
        let keys = try await store.keys()
        if let fixed {
            let isKnown = { (keys: [APIKey]) in keys.contains { $0.hash == KeyRing.digest(fixed) } }
            if !isKnown(keys) {
                let key = NewKey.known(fixed, tenant: tenant, role: .admin, label: Bootstrap.settingsLabel, at: now, random: random)
                do throws(StoreError) { try await store.insert(key) } catch {
                    // Another instance that starts with the same settings may have been faster.
                    guard isKnown(try await store.keys()) else { throw error }
                }
            }
            // A key that the settings had before was replaced, perhaps because somebody else knew it.
            for old in keys where old.label == Bootstrap.settingsLabel && old.role == .admin && old.hash != KeyRing.digest(fixed) {
                _ = try await store.deleteKey(old.id, tenant: old.tenant)
            }
            return nil
        }
        guard !keys.contains(where: { $0.role == .admin }) else { return nil }
        let (key, text) = NewKey.make(tenant: tenant, role: .admin, label: "made at the first start", at: now, random: random)
        return try await store.insertFirst(key) ? text : nil
    }

    /// What tokens and admissions are signed with.
    func secrets(issuer: String) async throws -> SecretRing.Secrets {
        try await ensure(SessionTokens.purpose) { secretBytes() }
        try await ensure(AdmissionSigner.purpose) { Array(AdmissionSigner.newKey().utf8) }
        return try await SecretRing.Secrets(
            try await store.secrets(SessionTokens.purpose) + store.secrets(AdmissionSigner.purpose), issuer: issuer)
    }

    /// 256 bits that nobody can guess.
    private func secretBytes() -> [UInt8] { (0..<4).flatMap { _ in withUnsafeBytes(of: random.next(), Array.init) } }

    /// What instances know each other's messages by.
    func busSecret() async throws(StoreError) -> [UInt8] {
        try await ensure("bus") { secretBytes() }
        return try await store.secrets("bus")[0].value
    }

    private func ensure(_ purpose: String, _ make: () -> [UInt8]) async throws(StoreError) {
        if try await store.secrets(purpose).isEmpty { _ = try await store.insertFirst(secret(purpose, make())) }
    }

    private func add(_ purpose: String, _ value: [UInt8]) async throws(StoreError) { try await store.insert(secret(purpose, value)) }

    private func secret(_ purpose: String, _ value: [UInt8]) -> StoredSecret {
        StoredSecret(id: String(random.next(), radix: 36), purpose: purpose, value: value, createdAt: now)
    }

    /// Adds new secrets; what the old ones signed stays valid. The tokens' one signs at an instance from its next start or
    /// SIGHUP on, the admissions' one when verifiers can have read it (`AdmissionSigner.publishedFirst`).
    func rotate() async throws(StoreError) {
        try await add(SessionTokens.purpose, secretBytes())
        try await add(AdmissionSigner.purpose, Array(AdmissionSigner.newKey().utf8))
    }
}

/// What the command line does to a store without serving from it.
public struct KeyAdministration: Sendable {
    private let store: any QueueStore
    private let random = SystemRandom()

    public init(store: any QueueStore) { self.store = store }

    private func bootstrap(_ now: Timestamp) -> Bootstrap { Bootstrap(store: store, random: random, now: now) }

    /// Makes a key and returns its text, which is shown once.
    public func create(role: KeyRole, label: String) async throws(StoreError) -> String {
        let now = Timestamp(seconds: Date().timeIntervalSince1970)
        let tenant = try await bootstrap(now).tenant().id
        let (key, text) = NewKey.make(tenant: tenant, role: role, label: label, at: now, random: random)
        try await store.insert(key)
        return text
    }

    public func list() async throws(StoreError) -> [APIKey] { try await store.keys() }

    public func revoke(_ id: KeyID) async throws(StoreError) -> Bool {
        guard let key = try await store.keys().first(where: { $0.id == id }) else { return false }
        return try await store.deleteKey(id, tenant: key.tenant)
    }

    public func rotateSecrets() async throws(StoreError) {
        try await bootstrap(Timestamp(seconds: Date().timeIntervalSince1970)).rotate()
    }
}
