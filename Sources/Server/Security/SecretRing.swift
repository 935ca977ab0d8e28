import Locks
import QueueEngine
import QueueService

/// What session tokens and admissions are signed with, as the store has it. It is read anew where something signed elsewhere
/// names a key that is not known here, at most once a second.
final class SecretRing: Sendable {
    struct Secrets: Sendable {
        var tokens: SessionTokens
        var admissions: AdmissionSigner
        /// What they were made of.
        let stored: [StoredSecret]

        init(tokens: [StoredSecret], admissions: [StoredSecret], issuer: String) async throws {
            self.tokens = SessionTokens(tokens)
            self.admissions = try await AdmissionSigner(admissions, issuer: issuer)
            stored = tokens + admissions
        }
    }

    /// What the ring and its reading share.
    private final class Known: Sendable {
        let secrets: Lock<Secrets>
        /// Every secret that the store has had since the start, by id.
        let seen: Lock<[String: StoredSecret]>

        init(_ secrets: Secrets) {
            self.secrets = Lock(secrets)
            seen = Lock([:])
            remember(secrets)
        }

        func remember(_ secrets: Secrets) { seen.withLock { seen in for secret in secrets.stored { seen[secret.id] = secret } } }
    }

    private let known: Known
    private let read: SpacedRead

    /// - Parameter load: reads them from the store.
    init(_ secrets: Secrets, load: @escaping @Sendable () async throws -> Secrets) {
        let known = Known(secrets)
        self.known = known
        read = SpacedRead(spacing: .seconds(1)) {
            let secrets = try await load()
            known.remember(secrets)
            known.secrets.withLock { $0 = secrets }
        }
    }

    var tokens: SessionTokens { known.secrets.withLock { $0.tokens } }
    var admissions: AdmissionSigner { known.secrets.withLock { $0.admissions } }

    /// Reads the secrets now. False: the store could not be read.
    func renew() async -> Bool { await read.again() }

    /// Writes back what a store that was restored from an older copy has lost: what was signed since then stays good, at every
    /// instance.
    func restore(to store: any QueueStore) async throws(StoreError) {
        let seen = known.seen.withLock { $0 }
        for purpose in Set(seen.values.map(\.purpose)) {
            let there = Set(try await store.secrets(purpose).map(\.id))
            for secret in seen.values where secret.purpose == purpose && !there.contains(secret.id) {
                do throws(StoreError) { try await store.insert(secret) } catch {
                    // Another instance may have been faster.
                    guard case .rejected = error else { throw error }
                }
            }
        }
        _ = await renew()
    }

    /// What a session's token says.
    ///
    /// - Throws: `unauthorized`, which is final, where no instance can have made it; `unavailable` where that cannot be known
    ///   now.
    func claims(_ token: String, at now: Timestamp) async throws(Problem) -> SessionClaims {
        var reading = tokens.reading(token, at: now)
        if reading == .unknownKey {
            guard await read.again() else { throw .storeAway }
            reading = tokens.reading(token, at: now)
        }
        guard case .claims(let claims) = reading else { throw .unauthorized }
        return claims
    }

    /// `/.well-known/jwks.json`, with every key that the store had a minute ago.
    func keySet() async -> [UInt8] {
        _ = await read.fresh(within: AdmissionSigner.longestAgeOfKeySet)
        return admissions.keySet
    }
}
