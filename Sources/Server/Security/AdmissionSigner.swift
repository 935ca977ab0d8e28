import Crypto
import Foundation
import JWTKit
import QueueEngine
import QueueService

/// What an admission says (RFC 7519 §4.1). Verified offline, with the key from `/.well-known/jwks.json`.
struct Admission: JWTPayload {
    let iss: String
    /// The queue's slug.
    let aud: String
    /// The session.
    let sub: String
    let iat: Int
    let exp: Int
    /// The session too: an admission is used once.
    let jti: String
    let queue: String
    let user: String?

    func verify(using algorithm: some JWTAlgorithm) async throws {}
}

/// Signs admissions with ES256. All keys are published, so that what was signed before a rotation still verifies. The
/// newest one signs that has been published for so long that every verifier can have read it.
struct AdmissionSigner: Sendable {
    static let purpose = "admission-signing"

    private let collection: JWTKeyCollection
    /// The newest first.
    private let keys: [(id: JWKIdentifier, createdAt: Timestamp)]
    private let issuer: String

    /// How long verifiers may keep the key set, in seconds.
    static let keySetSeconds = 300
    /// How old the key set may be that an instance gives out.
    static let longestAgeOfKeySet = Duration.seconds(60)
    /// A new key signs this long after it was made: a verifier that was given a key set without it has asked again by then,
    /// clocks that differ by a minute included.
    static let publishedFirst = Timestamp.Span.seconds(keySetSeconds + 120)
    /// `/.well-known/jwks.json` (RFC 7517 §5).
    let keySet: [UInt8]

    /// - Parameter secrets: PEM private keys on P-256, the newest first; at least one.
    init(_ secrets: [StoredSecret], issuer: String) async throws {
        collection = JWTKeyCollection()
        self.keys = secrets.map { (JWKIdentifier(string: $0.id), $0.createdAt) }
        self.issuer = issuer
        var keys: [(String, ECDSAParameters)] = []
        for secret in secrets {
            let key = try ES256PrivateKey(pem: String(decoding: secret.value, as: UTF8.self))
            await collection.add(ecdsa: key, kid: JWKIdentifier(string: secret.id))
            if let parameters = key.parameters { keys.append((secret.id, parameters)) }
        }
        var text: [UInt8] = []
        text.object { text in
            text.key("keys")
            text.array(keys) { text, key in
                text.object { text in
                    text.member("kty", "EC")
                    text.member("crv", "P-256")
                    text.member("use", "sig")
                    text.member("alg", "ES256")
                    text.member("kid", key.0)
                    text.member("x", AdmissionSigner.url(key.1.x))
                    text.member("y", AdmissionSigner.url(key.1.y))
                }
            }
        }
        keySet = text
    }

    private static func url(_ base64: String) -> String { Data(base64Encoded: base64)?.base64URL() ?? base64 }

    static func newKey() -> String { P256.Signing.PrivateKey().pemRepresentation }

    /// - Parameter now: the time of day.
    func sign(session: SessionID, user: String?, queue: QueueRecord, at now: Timestamp, until: Timestamp) async throws -> String {
        let admission = Admission(
            iss: issuer, aud: queue.slug, sub: session.description, iat: Int(now.seconds), exp: Int(until.seconds),
            jti: session.description, queue: queue.id.description, user: user)
        return try await collection.sign(admission, kid: signingKey(at: now))
    }

    /// Where none has been published for long, the oldest: it is the one that verifiers are likeliest to know.
    private func signingKey(at now: Timestamp) -> JWKIdentifier {
        (keys.first { $0.createdAt + AdmissionSigner.publishedFirst <= now } ?? keys.last!).id
    }
}
