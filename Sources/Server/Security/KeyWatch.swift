import Locks
import QueueService

/// Keys of those who stay after they have shown one, as a reader of events does: once such a key is revoked they are sent away.
///
/// One look for the whole process, at the keys in use alone, and none while there are none.
final class KeyWatch: Sendable {
    /// Somebody who holds keys: is told which have been revoked.
    typealias Holder = @Sendable (Set<KeyID>) -> Void

    private struct State {
        /// How many hold each.
        var uses: [KeyID: Int] = [:]
        var holders: [Holder] = []
        var isLooking = false
    }

    /// What the watch and its reading share.
    private final class Shared: Sendable {
        let state = Lock(State())
    }

    private let shared = Shared()
    private let read: SpacedRead

    /// From the beginning of one look to that of the next: a revoked key ends those who hold it within a second, looks that take
    /// 150 ms included.
    private static let spacing = Duration.milliseconds(700)

    /// - Parameter known: asks the store which of these keys there are.
    init(_ known: @escaping @Sendable ([KeyID]) async throws -> Set<KeyID>) {
        read = SpacedRead(spacing: .milliseconds(100)) { [shared] in
            let (keys, holders) = shared.state.withLock { (Array($0.uses.keys), $0.holders) }
            guard !keys.isEmpty else { return }
            let revoked = Set(keys).subtracting(try await known(keys))
            if !revoked.isEmpty { for holder in holders { holder(revoked) } }
        }
    }

    /// From now on `holder` is told of keys that are revoked, of any that are held.
    func add(_ holder: @escaping Holder) { shared.state.withLock { $0.holders.append(holder) } }

    /// Somebody stays who has shown this key. It is looked at at once: it may have been revoked a moment before.
    func hold(_ key: KeyID) {
        let isFirst = shared.state.withLock { state in
            state.uses[key, default: 0] += 1
            defer { state.isLooking = true }
            return !state.isLooking
        }
        if isFirst { look() } else { Task { await read.again() } }
    }

    func release(_ key: KeyID) {
        shared.state.withLock { state in
            guard let uses = state.uses[key] else { return }
            state.uses[key] = uses > 1 ? uses - 1 : nil
        }
    }

    /// Whether the store is asked from time to time.
    var isLooking: Bool { shared.state.withLock { $0.isLooking } }

    private func look() {
        Task { [self] in
            repeat {
                let began = ContinuousClock.now
                _ = await read.again()
                try? await Task.sleep(until: began + KeyWatch.spacing)
            } while goesOn()
        }
    }

    private func goesOn() -> Bool {
        shared.state.withLock { state in
            state.isLooking = !state.uses.isEmpty
            return state.isLooking
        }
    }
}
