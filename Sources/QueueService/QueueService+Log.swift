import QueueEngine

/// Reading a queue's log.
extension QueueService {
    /// Entries after `seq`, some hundreds at most; an empty answer means that this instance knows of nothing newer.
    ///
    /// - Parameter epoch: the log that the reader has followed so far; nil: takes whatever log there is.
    /// - Throws: `logRestarted` where the reader's position is not one of this log: another epoch, a `seq` from the
    ///   future, or one behind which entries have been pruned.
    public func entries(
        of id: QueueID, tenant: TenantID, after seq: UInt64, epoch: UInt64?
    ) async throws(ServiceError) -> ArraySlice<LogEntry> {
        let known = try queue(id, tenant: tenant)
        guard epoch == nil || epoch == known.record.epoch else { throw try await restarted(id) }
        if seq <= known.state.head {
            let entries = try await asking { () throws(StoreError) in try await page(of: id, after: seq) }
            if entries.isEmpty ? seq == known.state.head : entries.first!.event.seq == seq + 1 { return entries }
        }
        // A reader may have got further than this instance's replica, and what it asks for may have been pruned.
        let bounds = try await bounds(of: id)
        guard seq <= bounds.upperBound, seq + 1 >= bounds.lowerBound else { throw try await restarted(id) }
        return []
    }

    private func bounds(of id: QueueID) async throws(ServiceError) -> ClosedRange<UInt64> {
        try await asking { () throws(StoreError) in try await store.logBounds(of: id) } ?? 1...1
    }

    private func restarted(_ id: QueueID) async throws(ServiceError) -> ServiceError {
        let bounds = try await bounds(of: id)
        return .logRestarted(epoch: try queue(id).record.epoch, first: bounds.lowerBound, head: bounds.upperBound)
    }

    /// A reader by this name begins after `seq`: it has everything up to there, and from there on nothing is forgotten.
    public func confirm(_ consumer: String, _ seq: UInt64, of id: QueueID, tenant: TenantID) async throws(ServiceError) {
        try await asking { () throws(StoreError) in try await store.confirm(consumer, seq, of: id, tenant: tenant) }
    }
}
