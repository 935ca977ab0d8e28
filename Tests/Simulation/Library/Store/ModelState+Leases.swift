import HeapModule
import QueueEngine
import QueueService

/// Leases and what time brings.
extension ModelState {
    mutating func beat(
        _ instance: InstanceID, lease: Timestamp.Span, capacity: Capacity?, after last: Beat.Count, known: [Beat.Head], at now: Timestamp
    ) -> Beat {
        let unknown = last.at > now - Beat.Count.kept ? 0 : last.number
        if heartbeats[instance]?.number ?? unknown < last.number, history == last.history || begunAt <= last.at {
            beginHistory(at: max(now, last.at + Timestamp.Span(microseconds: 1)))
        }
        let count = Beat.Count(number: max(heartbeats[instance]?.number ?? 0, last.number) + 1, at: now, history: history)
        if last == .none { heartbeats = heartbeats.filter { $0.value.at >= now - Beat.Count.kept } }
        heartbeats[instance] = count
        let before = leases[instance]
        let heldSince = before.flatMap { $0.expiresAt < now ? nil : $0.heldSince } ?? now
        leases[instance] = Lease(heldSince: heldSince, expiresAt: now + lease, capacity: capacity)
        let peers = leases.filter { $0.key != instance }.sorted { $0.key < $1.key }
        let heads = known.map { ($0, head(of: $0.queue)) }
        return Beat(
            count: count, heldSince: heldSince,
            peers: peers.map { Beat.Peer(id: $0.key, expiresAt: $0.value.expiresAt, capacity: $0.value.capacity) },
            changed: heads.compactMap { known, stored in stored == known ? nil : stored },
            gone: heads.compactMap { known, stored in stored == nil ? known.queue : nil })
    }

    private func head(of id: QueueID) -> Beat.Head? {
        guard let queue = queues[id], queue.isActive else { return nil }
        return Beat.Head(queue: id, epoch: queue.record.epoch, position: queue.position)
    }

    func waking(after point: WakePoint, through end: Timestamp, limit: Int) -> [WakePoint] {
        var first = firstWake(notBefore: point)
        if first < wakes.count, wakes[first] == point { first += 1 }
        return Array(wakes[first...].prefix(limit).prefix { $0.at <= end })
    }

    /// Returns how many names are free again.
    mutating func endClosed(_ id: QueueID, limit: Int) -> Int {
        guard let queue = queues[id] else { return 0 }
        let part = queue.closing.prefix(limit)
        for session in part {
            if let user = session.visitor.user, queue.users[user] == session.ticket { queues[id]!.users[user] = nil }
            endings.insert(Ending(at: session.endedAt!, session: session.id))
        }
        queues[id]!.closing.removeFirst(part.count)
        return part.count
    }

    /// Nothing but what has been tells which history it is, so a seed reproduces a run.
    mutating func beginHistory(at now: Timestamp) {
        begunAt = now
        history = (history ^ UInt64(bitPattern: now.microseconds)) &* 0xBF58_476D_1CE4_E5B9 &+ 1
        for queue in queues.values {
            let record = queue.record
            queue.record = QueueRecord(
                id: record.id, tenant: record.tenant, epoch: (record.epoch ^ history) & ~1, slug: record.slug, name: record.name,
                description: record.description, redirectURL: record.redirectURL, configuration: record.configuration,
                createdAt: record.createdAt)
        }
    }

    mutating func delete(_ id: QueueID, tenant: TenantID, at seq: UInt64) -> Bool {
        guard let queue = queues[id], queue.record.tenant == tenant, queue.position.seq == seq else { return false }
        if queue.isActive { moveWake(of: id, from: queue.wakeAt, to: nil) }
        queues[id]!.isActive = false
        if slugs[queue.record.slug] == id { slugs[queue.record.slug] = nil }
        return true
    }
}
