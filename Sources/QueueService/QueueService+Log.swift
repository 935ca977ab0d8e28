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
        let snapshot = try queue(id, tenant: tenant)
        let (known, head) = (snapshot.record.epoch, snapshot.state.head)
        let first = try await asking { () throws(StoreError) in try await store.firstEntry(of: id) } ?? 1
        guard epoch == nil || epoch == known, seq <= head, seq + 1 >= first else {
            throw .logRestarted(epoch: known, first: first, head: head)
        }
        return try await asking { () throws(StoreError) in try await store.entries(of: id, after: seq, limit: limit) }
    }
}
