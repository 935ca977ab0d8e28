import Crypto
import Foundation
import QueueService

/// The text of a key that is asked for with an `Idempotency-Key`. Whoever repeats the request is told the same text, although only its
/// digest is kept: it follows from the text of the asking admin's key, which no store has, from what session tokens are signed with,
/// which no admin has, and from the request (HMAC, RFC 2104; HKDF, RFC 5869).
extension SessionTokens {
    /// What the text is for a new key.
    func newestText(of id: KeyID, _ once: WriteOnce, admin: String) -> String { text(of: id, once, admin, keys[newest]!) }

    /// The text that has this digest; nil where the secret that it was made from is gone.
    func text(of id: KeyID, _ once: WriteOnce, admin: String, digest: [UInt8]) -> String? {
        keys.values.lazy.map { text(of: id, once, admin, $0) }.first { KeyRing.digest($0) == digest }
    }

    private func text(of id: KeyID, _ once: WriteOnce, _ admin: String, _ secret: SymmetricKey) -> String {
        let own = HKDF<SHA256>.deriveKey(inputKeyMaterial: secret, info: Data("stanchion API key".utf8), outputByteCount: 32)
        // Never the digest of the admin's key in its place: that is in the store.
        let code = HMAC<SHA256>.authenticationCode(for: Data(admin.utf8), using: own)
        let request = Data("\(once.tenant) \(id) ".utf8) + Data(once.requestHash) + Data(once.key.utf8)
        let bytes = HKDF<SHA256>.deriveKey(
            inputKeyMaterial: SymmetricKey(data: code), info: request, outputByteCount: NewKey.words * MemoryLayout<UInt64>.size)
        return NewKey.text(
            bytes.withUnsafeBytes { bytes in
                stride(from: 0, to: bytes.count, by: MemoryLayout<UInt64>.size).map {
                    UInt64(littleEndian: bytes.loadUnaligned(fromByteOffset: $0, as: UInt64.self))
                }
            })
    }
}
