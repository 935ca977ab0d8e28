import QueueEngine

/// Reading a queue's log.
extension QueueService {
    /// Entries after `seq`, at most `limit`; an empty answer means that there is nothing newer.
    ///
    /// - Parameter epoch: the log that the reader has followed so far; nil: takes whatever log there is.
    /// - Throws: `logRestarted` where the reader's position is not one of this log: another epoch, a `seq` from the
    ///   future, or one behind which entries have been pruned.
    public func entries(
        of id: QueueID, tenant: TenantID, after seq: UInt64, epoch: UInt64?, limit: Int
    ) async throws(ServiceError) -> [LogEntry] {
        let known = try queue(id, tenant: tenant).record.epoch
        // The log's own bounds: a reader may have got further than this instance's replica.
        let bounds = try await asking { () throws(StoreError) in try await store.logBounds(of: id) } ?? 1...1
        guard epoch == nil || epoch == known, seq <= bounds.upperBound, seq + 1 >= bounds.lowerBound else {
            throw .logRestarted(epoch: known, first: bounds.lowerBound, head: bounds.upperBound)
        }
        return try await asking { () throws(StoreError) in try await store.entries(of: id, after: seq, limit: limit) }
    }
}
