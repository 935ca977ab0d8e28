import Logging
public import QueueEngine

/// How long what is over is kept; nil: for ever.
public struct RetentionSettings: Sendable {
    /// Sessions, from their end on.
    public var sessions: Timestamp.Span?
    /// Proofs that a write with an `Idempotency-Key` was done.
    public var receipts: Timestamp.Span?
    /// Announcements, from their expiry on.
    public var announcements: Timestamp.Span?
    /// What readers with a name have confirmed, from the last time on.
    public var consumers: Timestamp.Span?
    public var marks: Timestamp.Span?
    /// Entries of logs, as far as every reader with a name has confirmed them.
    public var log: Timestamp.Span?
    /// A deleted queue, with its log, sessions and announcements.
    public var deletedQueues: Timestamp.Span?

    public init() {}

    /// The age from which on a log may lack entries, or the names and words in them.
    var shortestOfLogs: Timestamp.Span? { [log, sessions, announcements, deletedQueues].compactMap(\.self).min() }

    /// What has expired, as of `now`, in the order in which it is deleted.
    func expired(at now: Timestamp) -> [ExpiredRows] {
        var rows: [ExpiredRows] = []
        // A write that is asked for again is answered with its session, which must be there as long as the receipt.
        if let sessions { rows.append(.sessions(endedBefore: now - max(sessions, receipts ?? sessions))) }
        if let receipts { rows.append(.receipts(madeBefore: now - receipts)) }
        if let announcements { rows.append(.announcements(expiredBefore: now - announcements)) }
        if let consumers {
            // A log waits for a reader for three times as long as it is kept.
            rows.append(
                .consumers(
                    confirmedBefore: now - max(consumers, log.map { Timestamp.Span(microseconds: 3 * $0.microseconds) } ?? consumers)))
        }
        if let marks { rows.append(.marks(madeBefore: now - marks)) }
        if let log { rows.append(.log(logAge(log, at: now))) }
        if let deletedQueues { rows.append(.deletedQueues(before: now - deletedQueues, now: now)) }
        return rows
    }

    /// In steps of a 24th of the age, an hour at most: a queue's log is looked at once a step and not for each entry.
    private func logAge(_ age: Timestamp.Span, at now: Timestamp) -> ExpiredRows.LogAge {
        let step = max(1, min(Timestamp.Span.seconds(3_600).microseconds, age.microseconds / 24))
        let before = (now - age).microseconds / step * step
        return ExpiredRows.LogAge(
            before: Timestamp(microseconds: before), unseenSince: now - Timestamp.Span(microseconds: 3 * age.microseconds), now: now)
    }
}

/// Deleting what has expired.
///
/// The first in turn of the live instances does it, once a minute, a thousand rows at a time. Between two batches it pauses
/// for four times as long as the last one took: commits of the same minute find the store idle most of the time.
extension QueueService {
    static let retentionPause = Timestamp.Span.seconds(60)
    private static let shortestPause = Timestamp.Span.milliseconds(50)
    private static let rowsAtOnce = 1_000
    private static let closingAtOnce = 16

    func scheduleRetention() { scheduleRetention(after: QueueService.retentionPause) }

    private func scheduleRetention(after pause: Timestamp.Span) {
        wake(at: clock.now() + pause) { service in
            let next = await service.deleteExpired()
            service.scheduleRetention(after: next)
        }
    }

    /// Deletes a batch of each kind, and writes the ends that closing has left to be written.
    ///
    /// - Returns: when to go on.
    private func deleteExpired() async -> Timestamp.Span {
        guard peers.live.allSatisfy({ instance < $0 }) else { return QueueService.retentionPause }
        let began = clock.now()
        var hasMore = false
        // Whoever closed a queue has seen to these rows, unless an error or the end of its process came between.
        for id in await attempt({ () throws(StoreError) in try await store.closingQueues(limit: QueueService.closingAtOnce) }) ?? [] {
            let ended = await attempt { () throws(StoreError) in try await store.endClosed(id, limit: QueueService.rowsAtOnce) }
            if ended ?? 0 > 0 { hasMore = true }
        }
        for rows in retention.expired(at: began) {
            let count = await attempt { () throws(StoreError) in try await store.deleteExpired(rows, limit: QueueService.rowsAtOnce) }
            if count?.hasMore == true { hasMore = true }
        }
        guard hasMore else { return QueueService.retentionPause }
        let took = clock.now() - began
        return min(QueueService.retentionPause, max(QueueService.shortestPause, Timestamp.Span(microseconds: 4 * took.microseconds)))
    }

    /// Takes one step of retention; nil where it failed: one kind or queue that fails keeps no other waiting.
    private func attempt<R>(_ step: () async throws(StoreError) -> R) async -> R? {
        guard outage == nil, life == .serving else { return nil }
        do throws(StoreError) { return try await step() } catch {
            log.warning("a step of retention failed", metadata: ["error": "\(error)"])
            return nil
        }
    }
}
