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

/// Signs admissions with ES256. The newest key signs; all are published, so that what was signed before a rotation
/// still verifies.
struct AdmissionSigner: Sendable {
    static let purpose = "admission-signing"

    private let collection: JWTKeyCollection
    private let newest: JWKIdentifier
    private let issuer: String
    /// `/.well-known/jwks.json` (RFC 7517 §5).
    let keySet: [UInt8]

    /// - Parameter secrets: PEM private keys on P-256, the newest first; at least one.
    init(_ secrets: [StoredSecret], issuer: String) async throws {
        collection = JWTKeyCollection()
        newest = JWKIdentifier(string: secrets[0].id)
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

    func sign(session: SessionID, user: String?, queue: QueueRecord, at now: Timestamp, until: Timestamp) async throws -> String {
        let admission = Admission(
            iss: issuer, aud: queue.slug, sub: session.description, iat: Int(now.seconds), exp: Int(until.seconds),
            jti: session.description, queue: queue.id.description, user: user)
        return try await collection.sign(admission, kid: newest)
    }
}
