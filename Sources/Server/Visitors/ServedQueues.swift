import Locks
import QueueEngine
import QueueService

/// The queues that this instance serves, by id and slug, for any thread: a join into one of them asks the service once.
final class ServedQueues: QueueObserver {
    private struct Names {
        var owners: [QueueID: (tenant: TenantID, slug: String)] = [:]
        var slugs: [String: QueueID] = [:]

        mutating func forget(_ queue: QueueID) {
            guard let slug = owners.removeValue(forKey: queue)?.slug else { return }
            // Another queue may have the slug by now.
            if slugs[slug] == queue { slugs[slug] = nil }
        }
    }

    private let names = Lock(Names())

    /// The queue that `name` means, by id or slug; nil where it is not served here, or is not this tenant's.
    func queue(named name: String, tenant: TenantID?) -> QueueID? {
        let id = QueueID(name)
        return names.withLock { names in
            guard let id = id ?? names.slugs[name], let owner = names.owners[id] else { return nil }
            return tenant == nil || owner.tenant == tenant ? id : nil
        }
    }

    func queueChanged(_ update: QueueUpdate) {
        let record = update.snapshot.record
        names.withLock { names in
            if let old = names.owners[record.id] {
                guard old.slug != record.slug else { return }
                names.forget(record.id)
            }
            names.owners[record.id] = (record.tenant, record.slug)
            names.slugs[record.slug] = record.id
        }
    }

    func queueRemoved(_ queue: QueueID) { names.withLock { $0.forget(queue) } }
    func queueRested(_ queue: QueueID) { queueRemoved(queue) }
    func stalenessChanged(_ since: Timestamp?) {}
}
