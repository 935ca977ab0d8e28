import DequeModule
import GRDB
import Locks
import QueueService

/// Rows that single requests write, such as marks: all that arrive while a transaction is under way go into the next one, so that
/// commits of queues do not wait behind each of them.
final class SmallWrites: Sendable {
    typealias Body = @Sendable (Database) throws -> Void

    struct Write: Sendable {
        let body: Body
        /// Resumed with the error; nil: it is committed.
        let completion: CheckedContinuation<StoreError?, Never>

        /// Values that are not taken must not fail the others. Throws what fails the transaction.
        func run(_ db: Database) throws -> StoreError? {
            do {
                try db.inSavepoint {
                    try body(db)
                    return .commit
                }
                return nil
            } catch {
                guard case .rejected = StoreError(error) else { throw error }
                return StoreError(error)
            }
        }
    }

    private struct State {
        var waiting = Deque<Write>()
        var isWriting = false
    }

    private let state = Lock(State())
    private let maximumWaiting: Int
    /// Writes of one transaction.
    private static let limit = 256

    init(maximumWaiting: Int) { self.maximumWaiting = maximumWaiting }

    /// False where too many wait.
    func add(_ body: @escaping Body, _ completion: CheckedContinuation<StoreError?, Never>) -> Bool {
        state.withLock { state in
            guard state.waiting.count < maximumWaiting else { return false }
            state.waiting.append(Write(body: body, completion: completion))
            return true
        }
    }

    /// The writes of the next transaction; nil where one is under way, or nothing waits.
    func take() -> [Write]? {
        state.withLock { state in
            guard !state.isWriting, !state.waiting.isEmpty else { return nil }
            state.isWriting = true
            let batch = Array(state.waiting.prefix(SmallWrites.limit))
            state.waiting.removeFirst(batch.count)
            return batch
        }
    }

    func finish() { state.withLock { $0.isWriting = false } }
}
