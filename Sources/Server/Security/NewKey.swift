public import QueueEngine
public import QueueService

/// Makes keys: shown once, kept only as a digest.
public enum NewKey {
    private static let letters = Array("abcdefghijklmnopqrstuvwxyz0123456789")
    /// Random words of which a text is made, a letter of each: 206 bits in all.
    static let words = 40

    static func text(_ random: [UInt64]) -> String { "sk_" + String(random.map { letters[Int($0 % UInt64(letters.count))] }) }

    static func text(_ random: any RandomSource) -> String { text((0..<words).map { _ in random.next() }) }

    public static func make(
        tenant: TenantID, role: KeyRole, label: String, at now: Timestamp, random: any RandomSource
    ) -> (key: APIKey, text: String) {
        let text = text(random)
        return (known(text, tenant: tenant, role: role, label: label, at: now, random: random), text)
    }

    /// A key that somebody has chosen.
    public static func known(
        _ text: String, tenant: TenantID, role: KeyRole, label: String, at now: Timestamp, random: any RandomSource
    ) -> APIKey {
        let id = KeyID(at: now, random: (random.next(), random.next()))
        return APIKey(id: id, tenant: tenant, role: role, hash: KeyRing.digest(text), label: label)
    }
}
