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
        var readAt: UInt64 = 0
    }

    private let store: any QueueStore
    private let state = Lock(State())
    /// Keys that another process has added are found at the latest after this long. One that another has revoked may open
    /// a door once more after it: nobody is kept waiting for the store.
    private static let rereadNanoseconds: UInt64 = 1_000_000_000

    init(store: any QueueStore) { self.store = store }

    static func digest(_ key: String) -> [UInt8] { Array(SHA256.hash(data: Data(key.utf8))) }

    func read() async throws(StoreError) {
        let keys = try await store.keys()
        state.withLock { state in
            state.keys = Dictionary(keys.map { ($0.hash, $0) }, uniquingKeysWith: { first, _ in first })
            state.readAt = EventLoop.monotonicNow()
        }
    }

    /// The key of a request. No key and a wrong one take the same path and get the same answer.
    func authenticate(_ request: Request, atLeast role: KeyRole) async throws -> APIKey {
        guard let key = await find(request.bearer ?? "") else { throw Problem.unauthorized }
        guard key.role >= role else { throw Problem.forbidden }
        return key
    }

    /// nil where there is none or it is not known.
    func find(_ text: String) async -> APIKey? {
        let digest = KeyRing.digest(text)
        let mayReread = mayReread()
        if let key = state.withLock({ $0.keys[digest] }) {
            if mayReread { Task { try? await read() } }
            return key
        }
        guard mayReread, (try? await read()) != nil else { return nil }
        return state.withLock { $0.keys[digest] }
    }

    private func mayReread() -> Bool {
        state.withLock { state in
            let now = EventLoop.monotonicNow()
            guard now - state.readAt > KeyRing.rereadNanoseconds else { return false }
            state.readAt = now
            return true
        }
    }
}
