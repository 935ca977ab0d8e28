import HTTPTypes
import QueueService

/// Questions that a route puts to the store itself, with its errors as the caller is told them.
extension ServerCore {
    func asking<R>(_ question: () async throws(StoreError) -> R) async throws -> R {
        do throws(StoreError) { return try await question() } catch { throw Problem.storeAway }
    }
}

extension Problem {
    static let storeAway = Problem(.serviceUnavailable, "unavailable", "the store cannot be reached right now", retryAfterSeconds: 5)
}
