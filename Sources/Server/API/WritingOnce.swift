import QueueService

/// Writes that no queue's log holds, done once where they carry an `Idempotency-Key`.
extension ServerCore {
    /// Writes, with the receipt for it in the same transaction, unless that has been done.
    ///
    /// - Parameter result: identifies what is written.
    /// - Returns: what identifies what was written, now or by an earlier request with this key.
    func writingOnce(
        _ once: WriteOnce?, result: String, _ write: (Receipt?) async throws(StoreError) -> Void
    ) async throws -> String {
        if let earlier = try await service.earlierResult(once) { return earlier }
        do throws(StoreError) {
            try await write(once?.receipt(result))
            return result
        } catch {
            // Another request with this key may have been faster.
            if case .rejected = error, let earlier = try await service.earlierResult(once) { return earlier }
            throw Problem.storeAway
        }
    }
}
