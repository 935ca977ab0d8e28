import HeapModule
import QueueEngine
import QueueService

/// What retention deletes.
extension ModelState {
    mutating func deleteExpired(_ rows: ExpiredRows, limit: Int) -> ExpiredCount {
        switch rows {
        case .sessions(let moment): return count(deleteSessions(before: moment, limit), limit)
        case .receipts(let moment):
            return count(deleteReceipts(before: moment, limit), limit)
        case .announcements(let moment): return count(deleteAnnouncements(before: moment, limit), limit)
        case .consumers(let moment):
            return count(deleteConsumers(before: moment, limit), limit)
        case .marks(let moment):
            let old = marks.filter { $0.at < moment }.sorted { $0.at < $1.at }.prefix(limit)
            marks.removeAll { mark in old.contains(mark) }
            return count(old.count, limit)
        case .log(let age): return pruneLogs(age, limit)
        case .deletedQueues(let moment, let now): return deleteQueues(before: moment, now: now, limit)
        }
    }

    private func count(_ deleted: Int, _ limit: Int) -> ExpiredCount { ExpiredCount(deleted: deleted, hasMore: deleted >= limit) }

    private mutating func deleteSessions(before moment: Timestamp, _ limit: Int) -> Int {
        var deleted = 0
        while deleted < limit, let first = endings.min, first.at < moment {
            endings.removeMin()
            if ended.removeValue(forKey: first.session) != nil { deleted += 1 }
        }
        return deleted
    }

    private mutating func deleteAnnouncements(before moment: Timestamp, _ limit: Int) -> Int {
        var deleted = 0
        for queue in sorted({ $0.announcements.contains { $0.hasExpired(before: moment) } }) where deleted < limit {
            let old = queue.announcements.filter { $0.hasExpired(before: moment) }.prefix(limit - deleted)
            queue.announcements.removeAll { announcement in old.contains(announcement) }
            deleted += old.count
        }
        return deleted
    }

    private mutating func deleteReceipts(before moment: Timestamp, _ limit: Int) -> Int {
        var deleted = 0
        while deleted < limit, let (key, at) = receiptsByAge.first, at < moment {
            receiptsByAge.removeFirst()
            if receipts[key]?.at == at {
                receipts[key] = nil
                deleted += 1
            }
        }
        return deleted
    }

    private func deleteConsumers(before moment: Timestamp, _ limit: Int) -> Int {
        var deleted = 0
        for queue in sorted({ $0.consumers.values.contains { $0.at < moment } }) {
            for (name, reader) in queue.consumers.sorted(by: { $0.key < $1.key }) where reader.at < moment && deleted < limit {
                queue.consumers[name] = nil
                deleted += 1
            }
        }
        return deleted
    }

    private func sorted(_ isWanted: (ModelQueue) -> Bool) -> [ModelQueue] {
        queues.values.filter(isWanted).sorted { $0.record.id < $1.record.id }
    }

    private mutating func pruneLogs(_ age: ExpiredRows.LogAge, _ limit: Int) -> ExpiredCount {
        let due = sorted { $0.isActive && $0.logSince < age.before }
        var deleted = 0
        for queue in due where deleted < limit { deleted += queue.prune(age, limit: limit - deleted) }
        return ExpiredCount(deleted: deleted, hasMore: !due.isEmpty)
    }

    private mutating func deleteQueues(before moment: Timestamp, now: Timestamp, _ limit: Int) -> ExpiredCount {
        for queue in queues.values where !queue.isActive && queue.deletedAt == nil { queue.deletedAt = now }
        let due = queues.values.filter { !$0.isActive && $0.deletedAt.map { $0 < moment } ?? false }.map(\.record.id).min()
        guard let id = due else { return ExpiredCount(deleted: 0, hasMore: false) }
        var deleted = deletePart(of: id, limit)
        if deleted < limit {
            queues[id] = nil
            deleted += 1
        }
        return ExpiredCount(deleted: deleted, hasMore: true)
    }

    private mutating func deletePart(of id: QueueID, _ limit: Int) -> Int {
        var deleted = min(limit, queues[id]!.log.count)
        queues[id]!.log.removeFirst(deleted)
        let sessions = places.filter { $0.value.queue == id }.map(\.key) + ended.filter { $0.value.queue == id }.map(\.key)
        for session in sessions.sorted().prefix(limit - deleted) {
            if let place = places.removeValue(forKey: session) { queues[id]!.rows[place.ticket] = nil }
            ended[session] = nil
            deleted += 1
        }
        let announcements = min(limit - deleted, queues[id]!.announcements.count)
        queues[id]!.announcements.removeFirst(announcements)
        deleted += announcements
        for name in queues[id]!.consumers.keys.sorted().prefix(limit - deleted) {
            queues[id]!.consumers[name] = nil
            deleted += 1
        }
        return deleted
    }
}

extension Announcement {
    fileprivate func hasExpired(before moment: Timestamp) -> Bool { expiresAt.map { $0 < moment } ?? false }
}
