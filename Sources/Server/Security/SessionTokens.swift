import Crypto
import Foundation
import QueueEngine
import QueueService

/// What a session's token says. Whoever shows it is that visitor; nothing has to be looked up to know it.
struct SessionClaims: Equatable {
    let queue: QueueID
    let session: SessionID
    let ticket: Ticket
    /// The integrator's id for the person, where a key vouched for it.
    let user: String?
    let expiresAt: Timestamp
}

/// Makes and reads session tokens: `st1.` and, in base64url, a key's id, the claims, and an HMAC-SHA-256 over both.
///
/// The newest key signs, every key reads: rotating is adding one.
struct SessionTokens: Sendable {
    static let purpose = "session-token"
    static let prefix = "st1."
    private static let fixedSize = 4 + 16 + 16 + 8 + 8
    private static let macSize = 32

    let newest: UInt32
    let keys: [UInt32: SymmetricKey]
    /// Has taken the newest key in: half of what a code costs, done once.
    private let keyed: HMAC<SHA256>

    /// - Parameter secrets: the newest first; at least one.
    init(_ secrets: [StoredSecret]) {
        keys = Dictionary(secrets.map { (SessionTokens.id($0), SymmetricKey(data: $0.value)) }, uniquingKeysWith: { first, _ in first })
        newest = SessionTokens.id(secrets[0])
        keyed = HMAC(key: keys[newest]!)
    }

    private static func id(_ secret: StoredSecret) -> UInt32 {
        SHA256.hash(data: Data(secret.id.utf8)).prefix(4).reduce(0) { $0 << 8 | UInt32($1) }
    }

    func make(_ claims: SessionClaims) -> String {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(160)
        bytes.append(bigEndian: newest)
        for word in [claims.queue.high, claims.queue.low, claims.session.high, claims.session.low] { bytes.append(bigEndian: word) }
        bytes.append(bigEndian: claims.ticket.rawValue)
        bytes.append(bigEndian: UInt64(claims.expiresAt.microseconds))
        bytes.append(contentsOf: (claims.user ?? "").utf8)
        var code = keyed
        code.update(data: bytes)
        code.finalize().withUnsafeBytes { bytes.append(contentsOf: $0) }
        return bytes.base64URL(behind: SessionTokens.prefix)
    }

    /// What a text turned out to be.
    enum Reading: Equatable {
        case claims(SessionClaims)
        /// It names a key that is not known here: another instance may have made it after a rotation.
        case unknownKey
        /// Expired, forged, or no token.
        case invalid
    }

    /// nil for whatever this server, or one with the same keys, did not make, and for what has expired.
    func read(_ token: String, at now: Timestamp) -> SessionClaims? {
        if case .claims(let claims) = reading(token, at: now) { claims } else { nil }
    }

    func reading(_ token: String, at now: Timestamp) -> Reading {
        guard token.utf8.count < 600, token.hasPrefix(SessionTokens.prefix),
            let data = Data(base64URL: String(token.dropFirst(SessionTokens.prefix.count)))
        else { return .invalid }
        let bytes = Array(data)
        guard bytes.count >= SessionTokens.fixedSize + SessionTokens.macSize else { return .invalid }
        // What has expired is so under any key.
        let expiresAt = Timestamp(microseconds: Int64(truncatingIfNeeded: bytes[44..<52].reduce(UInt64(0)) { $0 << 8 | UInt64($1) }))
        guard now < expiresAt else { return .invalid }
        guard let key = keys[bytes[0..<4].reduce(UInt32(0)) { $0 << 8 | UInt32($1) }] else { return .unknownKey }
        let (signed, mac) = (bytes.dropLast(SessionTokens.macSize), bytes.suffix(SessionTokens.macSize))
        guard HMAC<SHA256>.isValidAuthenticationCode(mac, authenticating: signed, using: key),
            let queue = QueueID(bytes: bytes[4..<20]), let session = SessionID(bytes: bytes[20..<36])
        else { return .invalid }
        let user = String(decoding: signed[SessionTokens.fixedSize...], as: UTF8.self)
        return .claims(
            SessionClaims(
                queue: queue, session: session, ticket: Ticket(rawValue: bytes[36..<44].reduce(UInt64(0)) { $0 << 8 | UInt64($1) }),
                user: user.isEmpty ? nil : user, expiresAt: expiresAt))
    }
}

extension [UInt8] {
    fileprivate mutating func append(bigEndian value: some FixedWidthInteger) {
        Swift.withUnsafeBytes(of: value.bigEndian) { append(contentsOf: $0) }
    }
}
