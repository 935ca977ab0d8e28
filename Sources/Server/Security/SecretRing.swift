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
        let issuer: String

        init(_ stored: [StoredSecret], issuer: String) async throws {
            // The newest first, as a store gives them.
            func secrets(_ purpose: String) -> [StoredSecret] {
                stored.filter { $0.purpose == purpose }.sorted { ($1.createdAt, $0.id) < ($0.createdAt, $1.id) }
            }
            tokens = SessionTokens(secrets(SessionTokens.purpose))
            admissions = try await AdmissionSigner(secrets(AdmissionSigner.purpose), issuer: issuer)
            (self.stored, self.issuer) = (stored, issuer)
        }
    }

    /// What the ring and its reading share.
    private final class Known: Sendable {
        let secrets: Lock<Secrets>
        /// Every secret that the store has had since the start, by id, but those that an operator has deleted.
        let seen: Lock<[String: StoredSecret]>
        /// The next reading forgets the secrets that the store has no more.
        let isForgetting = Lock(false)

        init(_ secrets: Secrets) {
            self.secrets = Lock(secrets)
            seen = Lock([:])
            for secret in secrets.stored { seen.withLock { $0[secret.id] = secret } }
        }

        /// What a reading has found, with those that a store that was restored has lost and not been given back yet.
        func complete(_ secrets: Secrets, isForgetting: Bool) async throws -> Secrets {
            let all = seen.withLock { seen in
                if isForgetting { seen = [:] }
                for secret in secrets.stored { seen[secret.id] = secret }
                return Array(seen.values)
            }
            return all.count == secrets.stored.count ? secrets : try await Secrets(all, issuer: secrets.issuer)
        }
    }

    private let known: Known
    private let read: SpacedRead

    /// - Parameter load: reads them from the store.
    init(_ secrets: Secrets, load: @escaping @Sendable () async throws -> Secrets) {
        let known = Known(secrets)
        self.known = known
        read = SpacedRead(spacing: .seconds(1)) {
            // A reading that is under way when somebody asks to forget may have found what has been deleted since.
            let isForgetting = known.isForgetting.withLock { $0 }
            let secrets = try await known.complete(try await load(), isForgetting: isForgetting)
            if isForgetting { known.isForgetting.withLock { $0 = false } }
            known.secrets.withLock { $0 = secrets }
        }
    }

    var tokens: SessionTokens { known.secrets.withLock { $0.tokens } }
    var admissions: AdmissionSigner { known.secrets.withLock { $0.admissions } }

    /// Reads the secrets once more: another instance may have made one. False: the store could not be read.
    func refresh() async -> Bool { await read.again() }

    /// Reads the secrets now, and forgets those that the store has no more: an operator has deleted them. False: the store could not
    /// be read.
    func renew() async -> Bool {
        known.isForgetting.withLock { $0 = true }
        if await read.again() { return true }
        known.isForgetting.withLock { $0 = false }
        return false
    }

    /// Writes back what a store that was restored from an older copy has lost: what was signed since then stays good, at every
    /// instance.
    ///
    /// - Returns: the ids of what was written.
    func restore(to store: any QueueStore) async throws(StoreError) -> [String] {
        var written: [String] = []
        let seen = known.seen.withLock { $0 }
        for purpose in Set(seen.values.map(\.purpose)) {
            let there = Set(try await store.secrets(purpose).map(\.id))
            for secret in seen.values where secret.purpose == purpose && !there.contains(secret.id) {
                do throws(StoreError) {
                    try await store.insert(secret)
                    written.append(secret.id)
                } catch {
                    // Another instance may have been faster.
                    guard case .rejected = error else { throw error }
                }
            }
        }
        _ = await read.again()
        return written
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
