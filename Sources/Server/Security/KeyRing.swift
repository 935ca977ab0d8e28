import Crypto
import EventLoop
import Foundation
import HTTPTypes
import QueueService
import Locks

/// The keys to the API, by the digest of each: a look-up tells nothing by its time, for nobody can choose a digest.
final class KeyRing: Sendable {
    private struct State {
        var keys: [[UInt8]: APIKey] = [:]
        /// When the read began that brought them.
        var readAt: ContinuousClock.Instant?
    }

    /// What the ring and its reading share.
    private final class Known: Sendable {
        let state = Lock(State())
    }

    private let known = Known()
    private let read: SpacedRead
    /// Reads the same for keys that are not known. Strangers make such keys up, so these reads are further apart.
    private let search: SpacedRead
    /// Whether the keys of those who stay are still good.
    let watch: KeyWatch

    /// How old what is known of the keys may be where one is shown: that long a revoked key still opens a door.
    private static let longestAge = Duration.milliseconds(800)

    /// How long a key that is not known waits for the read that may bring it: longer than two such reads are apart.
    private static let longestSearch = Duration.milliseconds(1_500)

    convenience init(store: any QueueStore) {
        self.init(watch: KeyWatch { keys in try await store.known(keys) }) { try await store.keys() }
    }

    /// - Parameter load: reads all keys.
    init(watch: KeyWatch, _ load: @escaping @Sendable () async throws -> [APIKey]) {
        self.watch = watch
        let readKeys: @Sendable () async throws -> Void = { [known] in
            let began = ContinuousClock.now
            let keys = try await load()
            known.state.withLock { state in
                // A newer read may have been faster.
                guard state.readAt.map({ $0 <= began }) ?? true else { return }
                state.keys = Dictionary(keys.map { ($0.hash, $0) }, uniquingKeysWith: { first, _ in first })
                state.readAt = began
            }
        }
        read = SpacedRead(spacing: .milliseconds(100), readKeys)
        search = SpacedRead(spacing: .seconds(1), readKeys)
    }

    static func digest(_ key: String) -> [UInt8] { Array(SHA256.hash(data: Data(key.utf8))) }

    /// Reads the keys now.
    func readNow() async throws(StoreError) {
        guard await read.again() else { throw .unavailable("the keys could not be read") }
    }

    /// The key of a request. No key and a wrong one get the same answer; a wrong one is looked for first.
    func authenticate(_ request: Request, atLeast role: KeyRole) async throws -> APIKey {
        guard let key = await find(request.bearer ?? "") else { throw Problem.unauthorized }
        guard key.role >= role else { throw Problem.forbidden }
        return key
    }

    /// Whether the key was good when the keys were read last. Reads nothing.
    func knows(_ text: String) -> Bool {
        let digest = KeyRing.digest(text)
        return known.state.withLock { $0.keys[digest] != nil }
    }

    /// nil where there is none or it is not known. While the store is away the keys are those that were known last.
    func find(_ text: String) async -> APIKey? {
        let (digest, asked) = (KeyRing.digest(text), ContinuousClock.now)
        _ = await read.fresh(within: KeyRing.longestAge)
        if let key = known.state.withLock({ $0.keys[digest] }) { return key }
        guard !text.isEmpty, !read.hasSucceeded(since: asked) else { return nil }
        // Another instance may have made it since the last read.
        await search.again(within: KeyRing.longestSearch)
        return known.state.withLock { $0.keys[digest] }
    }
}
