import DequeModule
import HeapModule
import QueueEngine
import QueueService

/// How much a store holds, and how old it is.
extension ModelState {
    /// Rows in each table.
    var counts: [String: Int] {
        let all = queues.values
        return [
            "queues": queues.count, "slugs": slugs.count, "instances": leases.count, "open sessions": places.count,
            "ended sessions": ended.count, "receipts": receipts.count, "marks": marks.count, "wakes": wakes.count,
            "announcements": all.reduce(0) { $0 + $1.announcements.count }, "consumers": all.reduce(0) { $0 + $1.consumers.count },
            "entries of logs": all.reduce(0) { $0 + $1.log.count }, "rows of the line": all.reduce(0) { $0 + $1.rows.count },
            "names": all.reduce(0) { $0 + $1.users.count }, "sessions that closing has ended": all.reduce(0) { $0 + $1.closing.count },
        ]
    }

    struct Ages {
        var session: Timestamp?
        var receipt: Timestamp?
        /// By when it ended, or would end now.
        var lease: Timestamp?
        var announcement: Timestamp?
        /// Behind a log's first, which stays where nothing followed it; of logs that wait for no reader, and not of queues that
        /// have been deleted.
        var entry: Timestamp?
    }

    /// The oldest of each, by the moment from which on it is kept.
    var ages: Ages {
        Ages(
            session: endings.min?.at, receipt: receiptsByAge.first?.at, lease: leases.values.map(\.expiresAt).min(),
            announcement: queues.values.compactMap { $0.announcements.compactMap(\.expiresAt).min() }.min(),
            entry: queues.values.filter { $0.isActive && $0.log.count > 1 && $0.consumers.isEmpty }.map { $0.log[1].event.at }.min())
    }
}
