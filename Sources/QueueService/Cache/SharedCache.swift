/// The second level: what instances keep for each other, and may lose at any time.
public protocol SharedCache: Sendable {
    /// nil where it is not there, or not to be had soon.
    func value(for key: CacheKey) async -> CacheValue?
    func keep(_ value: CacheValue, for key: CacheKey)
}
