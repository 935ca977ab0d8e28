import Locks
import QueueService

/// How a session has ended. What else is known of it may be long, and is in the store.
struct SessionEnd: Sendable {
    let status: SessionStatus
    /// `ended.reason`; nil: it has not ended.
    let reason: String?

    init(_ record: SessionRecord) { (status, reason) = (record.status, record.endedReason) }
}

/// How sessions have ended that somebody still asks for: a token outlives its session by days, and what became of that one
/// does not change. Bounded; the store is asked once for all who ask at the same time.
final class EndedSessions: Sendable {
    private struct Key: Hashable {
        let session: SessionID
        /// A restored store tells another history.
        let epoch: UInt64
    }

    private struct State {
        /// Nil: the store has no such session (any more).
        var ends: [Key: SessionEnd?] = [:]
        /// A ring, once there are as many as may be: the next one takes the place of the oldest.
        var order: [Key] = []
        var oldest = 0
        var lookUps: [Key: Task<Result<SessionEnd, ServiceError>, Never>] = [:]
    }

    private let capacity: Int
    private let ask: @Sendable (SessionID) async throws(ServiceError) -> SessionRecord
    private let state = Lock(State())

    /// Look-ups under way, each shared by all who ask for the same session.
    private static let lookUpLimit = 64

    /// - Parameters:
    ///   - capacity: sessions that are remembered.
    ///   - find: asks the store.
    init(capacity: Int = 10_000, find: @escaping @Sendable (SessionID) async throws(ServiceError) -> SessionRecord) {
        self.capacity = capacity
        ask = find
    }

    var count: Int { state.withLock { $0.ends.count } }

    /// How the session ended, which its queue does not know any more.
    ///
    /// - Throws: `noSuchSession`; `unavailable` where it cannot be found out now.
    func end(of id: SessionID, epoch: UInt64) async throws(ServiceError) -> SessionEnd {
        let key = Key(session: id, epoch: epoch)
        if let known = state.withLock({ $0.ends[key] }) {
            guard let known else { throw .noSuchSession }
            return known
        }
        let lookUp = state.withLock { state -> Task<Result<SessionEnd, ServiceError>, Never>? in
            if let lookUp = state.lookUps[key] { return lookUp }
            guard state.lookUps.count < EndedSessions.lookUpLimit else { return nil }
            let lookUp = Task { [self] in await self.find(key) }
            state.lookUps[key] = lookUp
            return lookUp
        }
        guard let lookUp else { throw .unavailable(retryAfterSeconds: 1) }
        return try await lookUp.value.get()
    }

    private func find(_ key: Key) async -> Result<SessionEnd, ServiceError> {
        let result: Result<SessionEnd, ServiceError>
        do throws(ServiceError) { result = .success(SessionEnd(try await ask(key.session))) } catch { result = .failure(error) }
        state.withLock { state in
            state.lookUps[key] = nil
            // One whose row has not been written yet is asked for again.
            let end: SessionEnd?
            switch result {
            case .success(let found) where found.reason != nil: end = found
            case .failure(.noSuchSession): end = nil
            default: return
            }
            guard state.ends.updateValue(end, forKey: key) == nil else { return }
            if state.order.count < capacity { return state.order.append(key) }
            state.ends.removeValue(forKey: state.order[state.oldest])
            state.order[state.oldest] = key
            state.oldest = (state.oldest + 1) % capacity
        }
        return result
    }
}
