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
    }

    /// What the ring and its reading share.
    private final class Known: Sendable {
        let state = Lock(State())
    }

    private let known = Known()
    private let read: SpacedRead
    /// Whether the keys of those who stay are still good.
    let watch: KeyWatch

    /// How old what is known of the keys may be where one is shown: that long a revoked key still opens a door, and that
    /// long a new one may not.
    private static let longestAge = Duration.milliseconds(800)

    init(store: any QueueStore) {
        watch = KeyWatch { keys in try await store.known(keys) }
        read = SpacedRead(spacing: .milliseconds(100)) { [known] in
            let keys = try await store.keys()
            known.state.withLock { $0.keys = Dictionary(keys.map { ($0.hash, $0) }, uniquingKeysWith: { first, _ in first }) }
        }
    }

    static func digest(_ key: String) -> [UInt8] { Array(SHA256.hash(data: Data(key.utf8))) }

    /// Reads the keys now.
    func readNow() async throws(StoreError) {
        guard await read.again() else { throw .unavailable("the keys could not be read") }
    }

    /// The key of a request. No key and a wrong one take the same path and get the same answer.
    func authenticate(_ request: Request, atLeast role: KeyRole) async throws -> APIKey {
        guard let key = await find(request.bearer ?? "") else { throw Problem.unauthorized }
        guard key.role >= role else { throw Problem.forbidden }
        return key
    }

    /// nil where there is none or it is not known. While the store is away the keys are those that were known last.
    func find(_ text: String) async -> APIKey? {
        let digest = KeyRing.digest(text)
        _ = await read.fresh(within: KeyRing.longestAge)
        return known.state.withLock { $0.keys[digest] }
    }
}
