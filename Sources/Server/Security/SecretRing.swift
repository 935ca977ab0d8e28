import Locks
import QueueEngine
import QueueService

/// What session tokens and admissions are signed with, as the store has it. It is read anew where something signed elsewhere
/// names a key that is not known here, at most once a second.
final class SecretRing: Sendable {
    struct Secrets: Sendable {
        var tokens: SessionTokens
        var admissions: AdmissionSigner
    }

    /// What the ring and its reading share.
    private final class Known: Sendable {
        let secrets: Lock<Secrets>
        init(_ secrets: Secrets) { self.secrets = Lock(secrets) }
    }

    private let known: Known
    private let read: SpacedRead

    /// - Parameter load: reads them from the store.
    init(_ secrets: Secrets, load: @escaping @Sendable () async throws -> Secrets) {
        let known = Known(secrets)
        self.known = known
        read = SpacedRead(spacing: .seconds(1)) {
            let secrets = try await load()
            known.secrets.withLock { $0 = secrets }
        }
    }

    var tokens: SessionTokens { known.secrets.withLock { $0.tokens } }
    var admissions: AdmissionSigner { known.secrets.withLock { $0.admissions } }

    /// Reads the secrets now. False: the store could not be read.
    func renew() async -> Bool { await read.again() }

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
