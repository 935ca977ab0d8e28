import Crypto
import Foundation
import QueueService

/// The text of a key that is asked for with an `Idempotency-Key`. Whoever repeats the request is told the same text, although only its
/// digest is kept: it follows from the asking admin's own key, which no store has, from what session tokens are signed with, which no
/// admin has, and from the request (HKDF, RFC 5869).
extension SessionTokens {
    /// What the text is for a new key.
    func newestText(of id: KeyID, _ once: WriteOnce, admin: String) -> String { text(of: id, once, admin, keys[newest]!) }

    /// The text that has this digest; nil where the secret that it was made from is gone.
    func text(of id: KeyID, _ once: WriteOnce, admin: String, digest: [UInt8]) -> String? {
        keys.values.lazy.map { text(of: id, once, admin, $0) }.first { KeyRing.digest($0) == digest }
    }

    private func text(of id: KeyID, _ once: WriteOnce, _ admin: String, _ secret: SymmetricKey) -> String {
        let info = Data("stanchion API key \(once.tenant) \(id) ".utf8) + Data(once.requestHash) + Data(once.key.utf8)
        let bytes = HKDF<SHA256>.deriveKey(
            inputKeyMaterial: secret, salt: SHA256.hash(data: Data(admin.utf8)).withUnsafeBytes { Data($0) }, info: info,
            outputByteCount: NewKey.words * MemoryLayout<UInt64>.size)
        return NewKey.text(
            bytes.withUnsafeBytes { bytes in
                stride(from: 0, to: bytes.count, by: MemoryLayout<UInt64>.size).map {
                    UInt64(littleEndian: bytes.loadUnaligned(fromByteOffset: $0, as: UInt64.self))
                }
            })
    }
}
