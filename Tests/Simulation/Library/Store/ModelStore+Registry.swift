public import QueueEngine
public import QueueService
import Telemetry

/// Sessions, announcements, and what is not the line.
extension ModelStore {
    public func session(_ id: SessionID) async throws(StoreError) -> SessionRecord? {
        try await call(.sessions) { state, _ in state.session(id) }
    }

    public func currentSession(user: String, queue: QueueID, joining: Bool) async throws(StoreError) -> SessionRecord? {
        guard !user.utf8.contains(0) else { throw .rejected("a name holds a NUL character") }
        return try await call(.sessions) { state, _ in
            state.queues[queue].flatMap { queue in queue.users[user].flatMap { queue.rows[$0]?.session } }
        }
    }

    public func sessions(
        tenant: TenantID, queue: QueueID?, status: SessionStatus?, after cursor: String?, limit: Int
    ) async throws(StoreError) -> Page<SessionRecord> {
        let after = cursor.flatMap { SessionID($0) } ?? SessionID(high: 0, low: 0)
        return try await call(.sessions) { state, _ in
            let all = state.places.keys.compactMap { state.session($0) } + state.ended.values
            let found = all.filter { session in
                session.tenant == tenant && session.id > after && queue.map { $0 == session.queue } ?? true
                    && status.map { $0 == session.status } ?? true
            }.sorted { $0.id < $1.id }
            let items = Array(found.prefix(limit))
            return Page(items: items, next: found.count > limit ? items.last?.id.description : nil)
        }
    }

    public func announcements(of queue: QueueID, at now: Timestamp, limit: Int) async throws(StoreError) -> [Announcement] {
        try await call(.load) { state, _ in
            let all = state.queues[queue]?.announcements.reversed().filter { $0.expiresAt.map { $0 > now } ?? true } ?? []
            return Array(all.prefix(limit))
        }
    }

    public func averageWaits(of queues: [QueueID], last: Int) async throws(StoreError) -> [QueueID: Double] {
        try await call(.sessions) { state, _ in
            queues.reduce(into: [:]) { waits, id in waits[id] = state.averageWait(of: id, last: last) }
        }
    }

    // MARK: Tenants, keys, receipts, secrets

    public func tenants() async throws(StoreError) -> [Tenant] { try await call(.other) { state, _ in state.tenants } }
    public func insert(_ tenant: Tenant) async throws(StoreError) { try await call(.other) { state, _ in state.tenants.append(tenant) } }
    public func keys() async throws(StoreError) -> [APIKey] { try await call(.other) { state, _ in state.keys } }
    public func insert(_ key: APIKey, _ receipt: Receipt?) async throws(StoreError) {
        try await insert(receipt) { state in
            guard !state.keys.contains(where: { $0.id == key.id || $0.hash == key.hash }) else { return false }
            state.keys.append(key)
            return true
        }
    }

    /// Writes what `write` takes, and gives the receipt for it.
    private func insert(_ receipt: Receipt?, _ write: @escaping @Sendable (inout ModelState) -> Bool) async throws(StoreError) {
        let isWritten = try await call(.other) { state, now in
            if let receipt, state.isGiven(receipt) { return false }
            guard write(&state) else { return false }
            if let receipt { state.give(receipt, at: now) }
            return true
        }
        if !isWritten { throw .rejected("the row or its receipt is there already") }
    }

    public func deleteKey(_ id: KeyID, tenant: TenantID) async throws(StoreError) -> Bool {
        try await call(.other) { state, _ in
            let before = state.keys.count
            state.keys.removeAll { $0.id == id && $0.tenant == tenant }
            return state.keys.count < before
        }
    }

    public func receipt(tenant: TenantID, key: String) async throws(StoreError) -> Receipt? {
        try await call(.sessions) { state, _ in state.receipts[ModelState.ReceiptKey(tenant: tenant, key: key)]?.receipt }
    }

    public func secrets(_ purpose: String) async throws(StoreError) -> [StoredSecret] {
        try await call(.other) { state, _ in
            state.secrets.filter { $0.purpose == purpose }.sorted { ($1.createdAt, $0.id) < ($0.createdAt, $1.id) }
        }
    }

    public func insert(_ secret: StoredSecret) async throws(StoreError) {
        try await call(.other) { state, _ in state.secrets.append(secret) }
    }

    public func insertFirst(_ tenant: Tenant) async throws(StoreError) -> Bool {
        try await call(.other) { state, _ in
            guard state.tenants.isEmpty else { return false }
            state.tenants.append(tenant)
            return true
        }
    }

    public func insertFirst(_ key: APIKey) async throws(StoreError) -> Bool {
        try await call(.other) { state, _ in
            guard !state.keys.contains(where: { $0.role == key.role }) else { return false }
            state.keys.append(key)
            return true
        }
    }

    public func insertFirst(_ secret: StoredSecret) async throws(StoreError) -> Bool {
        try await call(.other) { state, _ in
            guard !state.secrets.contains(where: { $0.purpose == secret.purpose }) else { return false }
            state.secrets.append(secret)
            return true
        }
    }

    // MARK: Hours and marks

    public func keep(_ hours: [StoredHour], of instance: InstanceID, since horizon: Int) async throws(StoreError) {
        try await call(.other) { state, _ in
            state.hours.removeAll { kept in kept.instance == instance && hours.contains { $0.number == kept.hour.number } }
            state.hours += hours.map { ($0, instance) }
            state.hours.removeAll { $0.hour.number < horizon }
        }
    }

    public func hours(since first: Int, limit: Int) async throws(StoreError) -> [StoredHour] {
        try await call(.other) { state, _ in
            Array(state.hours.map(\.hour).filter { $0.number >= first }.sorted { $0.number < $1.number }.suffix(limit))
        }
    }

    public func requests(since first: Int) async throws(StoreError) -> (all: Int64, failed: Int64) {
        let counts = try await hours(since: first, limit: .max).map(\.period.counts)
        return (counts.reduce(0) { $0 + $1.requests.total }, counts.reduce(0) { $0 + $1.failedRequests })
    }

    public func insert(_ mark: Mark, _ receipt: Receipt?) async throws(StoreError) {
        try await insert(receipt) { state in
            state.marks.append(mark)
            return true
        }
    }

    public func marks(tenant: TenantID, since moment: Timestamp, limit: Int) async throws(StoreError) -> [Mark] {
        try await call(.other) { state, _ in
            Array(state.marks.filter { $0.tenant == tenant && $0.at >= moment }.sorted { ($0.at, $1.id) < ($1.at, $0.id) }.suffix(limit))
        }
    }
}
