import DequeModule
import HeapModule
import QueueEngine
import QueueService

/// Everything a store holds, and what it does in one transaction.
struct ModelState {
    struct Lease {
        var heldSince: Timestamp
        var expiresAt: Timestamp
        var capacity: Capacity?
    }

    struct Ending: Comparable {
        let at: Timestamp
        let session: SessionID
        static func < (a: Ending, b: Ending) -> Bool { (a.at, a.session) < (b.at, b.session) }
    }

    struct ReceiptKey: Hashable {
        let tenant: TenantID
        let key: String
    }

    var queues: [QueueID: ModelQueue] = [:]
    /// Of queues that have not been deleted.
    var slugs: [String: QueueID] = [:]
    var leases: [InstanceID: Lease] = [:]
    /// The beats of each instance, those among them that have gone lately.
    var heartbeats: [InstanceID: Beat.Count] = [:]
    var history: UInt64 = 0
    var begunAt = Timestamp.distantPast
    /// Where the session of each id that has not ended is.
    var places: [SessionID: (queue: QueueID, ticket: Ticket)] = [:]
    var ended: [SessionID: SessionRecord] = [:]
    /// Sessions whose end is written, the earliest end first.
    var endings = Heap<Ending>()
    var receipts: [ReceiptKey: (receipt: Receipt, at: Timestamp)] = [:]
    /// The receipts, the oldest first.
    var receiptsByAge = Deque<(key: ReceiptKey, at: Timestamp)>()
    /// When queues wake, the earliest first; of those that have not been deleted.
    private(set) var wakes: [WakePoint] = []
    var tenants: [Tenant] = []
    var keys: [APIKey] = []
    var secrets: [StoredSecret] = []
    var hours: [(hour: StoredHour, instance: InstanceID)] = []
    var marks: [Mark] = []
    /// Whether a queue is kept for whoever lost a race, as Postgres does it.
    let reserves: Bool

    init(reserves: Bool) { self.reserves = reserves }

    // MARK: Appending

    mutating func append(_ batch: [LogAppend], by instance: InstanceID, at now: Timestamp) -> [AppendOutcome] {
        guard let lease = leases[instance], lease.expiresAt > now else { return batch.map { _ in .lapsed } }
        return batch.map { append($0, by: instance, at: now) }
    }

    private mutating func append(_ append: LogAppend, by instance: InstanceID, at now: Timestamp) -> AppendOutcome {
        let id = append.record.id
        let isKept = queues[id]?.reservation.map { $0.by != instance && $0.until >= now } ?? false
        guard continues(append) else {
            if reserves, !isKept, queues[id]?.isActive == true { queues[id]!.reservation = (instance, now + .milliseconds(100)) }
            return .behind
        }
        if isKept { return .reserved }
        if append.hasNUL { return .failed(.rejected("a text holds a NUL character")) }
        if let conflict = conflict(of: append) { return conflict }
        if queues[id] == nil {
            guard !append.events.isEmpty else { return .committed }
            queues[id] = ModelQueue(append)
        }
        let (old, wakeAt) = (queues[id]!.record.slug, queues[id]!.wakeAt)
        let sessions = queues[id]!.take(append, by: instance)
        moveWake(of: id, from: wakeAt, to: queues[id]!.wakeAt)
        for session in sessions {
            forget(session)
            endings.insert(Ending(at: session.endedAt!, session: session.id))
        }
        for (event, detail) in append.events {
            if case .joined(let ticket) = event.change, case .session(let session, _) = detail, ended[session] == nil {
                places[session] = (id, ticket)
            }
        }
        for session in queues[id]!.closing where places[session.id] != nil { forget(session) }
        for receipt in append.receipts { give(receipt, at: now) }
        if slugs[old] == id { slugs[old] = nil }
        slugs[queues[id]!.record.slug] = id
        return .committed
    }

    mutating func give(_ receipt: Receipt, at now: Timestamp) {
        let key = ReceiptKey(tenant: receipt.tenant, key: receipt.key)
        receipts[key] = (receipt, now)
        receiptsByAge.append((key, now))
    }

    func isGiven(_ receipt: Receipt) -> Bool { receipts[ReceiptKey(tenant: receipt.tenant, key: receipt.key)] != nil }

    /// The queue wakes at another moment than before; nil: not by itself.
    mutating func moveWake(of id: QueueID, from old: Timestamp?, to new: Timestamp?) {
        guard old != new else { return }
        if let old { wakes.remove(at: firstWake(notBefore: WakePoint(at: old, queue: id))) }
        guard let new else { return }
        let point = WakePoint(at: new, queue: id)
        wakes.insert(point, at: firstWake(notBefore: point))
    }

    /// By halves: there may be many queues, and every heartbeat asks.
    func firstWake(notBefore point: WakePoint) -> Int {
        var range = 0..<wakes.count
        while !range.isEmpty {
            let middle = range.lowerBound + range.count / 2
            range = wakes[middle] < point ? middle + 1..<range.upperBound : range.lowerBound..<middle
        }
        return range.lowerBound
    }

    private func continues(_ append: LogAppend) -> Bool {
        guard let queue = queues[append.record.id] else { return append.expected.seq == 0 }
        return queue.isActive && queue.position == append.expected
    }

    private func conflict(of append: LogAppend) -> AppendOutcome? {
        let isConfigured = append.events.contains { if case .configured = $0.event.change { true } else { false } }
        if isConfigured, let other = slugs[append.record.slug], other != append.record.id { return .slugTaken }
        if let index = secondPlace(in: append) { return .userConflict(eventIndex: index) }
        return append.receipts.firstIndex(where: isGiven).map { .receiptConflict(index: $0) }
    }

    /// The event that would give a person a second place.
    private func secondPlace(in append: LogAppend) -> Int? {
        guard let queue = queues[append.record.id] ?? (append.events.isEmpty ? nil : ModelQueue(append)) else { return nil }
        var taken: [String: Bool] = [:]
        var names: [Ticket: String] = [:]
        for (index, (event, detail)) in append.events.enumerated() {
            switch event.change {
            case .joined(let ticket):
                guard case .session(_, let visitor) = detail, let user = visitor.user else { continue }
                if taken[user] ?? (queue.users[user] != nil) { return index }
                taken[user] = true
                names[ticket] = user
            case .completed(let ticket), .left(let ticket), .expired(let ticket, _):
                if let user = names[ticket] ?? queue.rows[ticket]?.session.visitor.user { taken[user] = false }
            default: break
            }
        }
        return nil
    }

    private mutating func forget(_ session: SessionRecord) {
        places[session.id] = nil
        ended[session.id] = session
    }

    // MARK: Reading

    func session(_ id: SessionID) -> SessionRecord? {
        if let place = places[id] { return queues[place.queue]?.rows[place.ticket]?.session }
        return ended[id]
    }

    func image(of id: QueueID) -> StoredQueue? {
        guard let queue = queues[id], queue.isActive else { return nil }
        var stored = row(of: queue)
        for (ticket, row) in queue.rows.sorted(by: { $0.key < $1.key }) {
            if row.session.status == .waiting { stored.waiting.append((ticket, row.absentSince)) }
            if row.session.status == .admitted { stored.admitted.append((ticket, row.session.expiresAt!)) }
        }
        for entry in queue.log.reversed() {
            guard entry.event.at >= queue.lastEventAt - QueueImage.history else { break }
            add(entry, to: &stored)
        }
        return StoredQueue(record: queue.record, image: stored, isOccupied: queue.isOccupied)
    }

    private func add(_ entry: LogEntry, to image: inout QueueImage) {
        let wasAdmitted = entry.session.flatMap { session($0)?.admittedAt } != nil
        switch entry.event.change {
        case .admitted: image.admissions.append(entry.event.at)
        case .completed: image.turnovers.append(entry.event.at)
        case .left, .expired:
            if wasAdmitted { image.turnovers.append(entry.event.at) } else { image.departures.append(entry.event.at) }
        default: break
        }
    }

    func averageWait(of id: QueueID, last: Int) -> Double? {
        guard let queue = queues[id] else { return nil }
        let oldest = Int64(queue.head) - Int64(20 * last)
        var waits: [Double] = []
        for entry in queue.log.reversed() where waits.count < last && Int64(entry.event.seq) > oldest {
            guard case .admitted = entry.event.change, let session = entry.session.flatMap({ self.session($0) }),
                let admittedAt = session.admittedAt
            else { continue }
            waits.append((admittedAt - session.createdAt).seconds)
        }
        return waits.isEmpty ? nil : waits.reduce(0, +) / Double(waits.count)
    }

    func row(of queue: ModelQueue) -> QueueImage {
        var image = QueueImage(
            configuration: queue.record.configuration, status: queue.status, head: queue.head, lastEventAt: queue.lastEventAt,
            counters: queue.counters)
        image.unseenSince = queue.unseenSince
        return image
    }
}

extension LogAppend {
    /// No store takes a NUL in a text.
    fileprivate var hasNUL: Bool {
        events.contains { _, detail in
            switch detail {
            case .session(_, let visitor):
                [visitor.user, visitor.label, visitor.displayName, visitor.metadata].contains { $0?.utf8.contains(0) ?? false }
            case .announcement(let text, _, _): text.utf8.contains(0)
            case .none: false
            }
        }
    }
}
