public import QueueEngine
public import QueueService

/// Makes keys: shown once, kept only as a digest.
public enum NewKey {
    /// 192 random bits behind `sk_`.
    public static func make(
        tenant: TenantID, role: KeyRole, label: String, at now: Timestamp, random: any RandomSource
    ) -> (key: APIKey, text: String) {
        let letters = Array("abcdefghijklmnopqrstuvwxyz0123456789")
        let text = "sk_" + String((0..<40).map { _ in letters[Int(random.next() % 36)] })
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
