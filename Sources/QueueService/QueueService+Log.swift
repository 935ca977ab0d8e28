import QueueEngine

/// Reading a queue's log.
extension QueueService {
    /// The log that `name` means: that of a queue, by its id or slug, or that of a deleted queue, by its id. That one stays
    /// until retention deletes it, and nothing is added to it.
    ///
    /// - Throws: as `resolve`.
    public func log(of name: String, tenant: TenantID) async throws(ServiceError) -> LogHead {
        do throws(ServiceError) {
            let id = try await resolve(name, tenant: tenant)
            let queue = try queue(id, tenant: tenant)
            return LogHead(queue: id, epoch: queue.record.epoch, seq: queue.state.head, isOver: false)
        } catch {
            guard error == .noSuchQueue, let id = QueueID(name), let log = try await deletedLog(id, tenant: tenant) else { throw error }
            return LogHead(queue: id, epoch: log.epoch, seq: log.head, isOver: true)
        }
    }

    /// Entries after `seq`, some hundreds at most; an empty answer means that this instance knows of nothing newer.
    ///
    /// - Parameter epoch: the log that the reader has followed so far; nil: takes whatever log there is.
    /// - Throws: `logRestarted` where the reader's position is not one of this log: another epoch, a `seq` from the
    ///   future, or one behind which entries have been pruned; `noSuchQueue` where the queue was deleted and the reader has
    ///   its whole log, or retention has deleted the queue's row.
    public func entries(
        of id: QueueID, tenant: TenantID, after seq: UInt64, epoch: UInt64?
    ) async throws(ServiceError) -> ArraySlice<LogEntry> {
        guard let known = try? queue(id, tenant: tenant) else {
            return try await entriesOfDeleted(id, tenant: tenant, after: seq, epoch: epoch)
        }
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

    private func entriesOfDeleted(
        _ id: QueueID, tenant: TenantID, after seq: UInt64, epoch: UInt64?
    ) async throws(ServiceError) -> ArraySlice<LogEntry> {
        guard let log = try await deletedLog(id, tenant: tenant) else { throw .noSuchQueue }
        let restarted = ServiceError.logRestarted(epoch: log.epoch, first: log.first, head: log.head)
        guard epoch == nil || epoch == log.epoch, seq <= log.head else { throw restarted }
        guard seq < log.head else { throw .noSuchQueue }
        let entries = try await asking { () throws(StoreError) in try await page(of: id, log.epoch, after: seq) }
        guard entries.first?.event.seq == seq + 1 else { throw restarted }
        return entries
    }

    func deletedLog(_ id: QueueID, tenant: TenantID) async throws(ServiceError) -> DeletedLog? {
        try checkStore()
        return try await asking { () throws(StoreError) in try await store.deletedLog(of: id, tenant: tenant) }
    }

    private func bounds(of id: QueueID) async throws(ServiceError) -> ClosedRange<UInt64> {
        try await asking { () throws(StoreError) in try await store.logBounds(of: id) } ?? 1...1
    }

    private func restarted(_ id: QueueID) async throws(ServiceError) -> ServiceError {
        let bounds = try await bounds(of: id)
        return .logRestarted(epoch: try queue(id).record.epoch, first: bounds.lowerBound, head: bounds.upperBound)
    }

    /// Keeps how far a reader has come: from there on nothing is forgotten.
    public func confirm(_ position: ConsumerPosition) async throws(ServiceError) {
        try await asking { () throws(StoreError) in try await store.confirm(position, limit: limits.consumers) }
    }
}

/// Which log it is, and the last entry that is known of it.
public struct LogHead: Sendable, Hashable {
    public let queue: QueueID
    public let epoch: UInt64
    public let seq: UInt64
    /// The queue was deleted: nothing is added.
    public let isOver: Bool
}
