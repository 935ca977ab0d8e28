public import QueueEngine

/// Rows that retention lets a store delete. Moments are the service's: a store reads no clock for it.
public enum ExpiredRows: Sendable, Hashable {
    /// Sessions that ended before this moment.
    case sessions(endedBefore: Timestamp)
    /// Receipts of writes that were done before this moment, by the store's clock.
    case receipts(madeBefore: Timestamp)
    /// Announcements that expired before this moment. One that does not expire stays as long as the log has it.
    case announcements(expiredBefore: Timestamp)
    /// What readers with a name have confirmed, where that was before this moment.
    case consumers(confirmedBefore: Timestamp)
    case marks(madeBefore: Timestamp)
    /// Old entries of logs, and announcements that are older than their log.
    case log(LogAge)
    /// Queues that were seen to be deleted before this moment, with all that was theirs. Those that are seen now for the
    /// first time count as deleted `now`.
    case deletedQueues(before: Timestamp, now: Timestamp)

    public struct LogAge: Sendable, Hashable {
        /// Entries from before this moment are old. A queue whose log was pruned with it is not looked at again with the
        /// same moment.
        public let before: Timestamp
        /// A reader with a name that has not confirmed anything since then is not waited for.
        public let unseenSince: Timestamp
        public let now: Timestamp
        public init(before: Timestamp, unseenSince: Timestamp, now: Timestamp) {
            self.before = before
            self.unseenSince = unseenSince
            self.now = now
        }
    }

    /// So many of a queue's announcements stay, the newest, where they do not expire: they are still shown.
    public static let announcementsKept = 100
}

/// What one call of `deleteExpired` has done.
public struct ExpiredCount: Sendable, Hashable {
    public let deleted: Int
    /// Another call may find more.
    public let hasMore: Bool
    public init(deleted: Int, hasMore: Bool) {
        self.deleted = deleted
        self.hasMore = hasMore
    }
}
