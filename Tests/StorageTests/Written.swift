import QueueEngine
import QueueService
import TestSupport

/// A queue in memory whose every command goes to the store.
struct Written {
    let record: QueueRecord
    var state = QueueState()
    var now = Timestamp(seconds: 1_700_000_000)
    var sessions: UInt64 = 0

    init(_ tenant: TenantID, slug: String = "a", id: UInt64 = 7, _ configuration: QueueConfiguration = QueueConfiguration()) {
        record = QueueRecord(
            id: QueueID(high: id, low: id), tenant: tenant, epoch: .max, slug: slug, name: "A", configuration: configuration,
            createdAt: Timestamp(seconds: 1))
    }

    mutating func append(_ command: (inout QueueState, Timestamp, inout [QueueEvent]) throws -> Void) rethrows -> LogAppend {
        let base = state.position
        var events: [QueueEvent] = []
        try command(&state, now, &events)
        var append = LogAppend(record: record, expected: base, state: state)
        for event in events {
            if case .joined = event.change {
                sessions += 1
                append.events.append(
                    (event, .session(SessionID(high: record.id.high, low: sessions), Visitor(user: "u\(sessions)", metadata: "{}"))))
            } else if case .announced = event.change {
                append.events.append((event, .announcement(text: "ä", .critical, expiresAt: nil)))
            } else {
                append.events.append((event, .none))
            }
        }
        return append
    }
}

extension QueueStore {
    /// Writes as an instance that has a lease.
    func append(_ batch: [LogAppend]) async throws(StoreError) -> [AppendOutcome] { try await append(batch, by: writer) }

    /// Writes like the service, which asks again for what was not committed while the store had no time for some of it.
    ///
    /// - Parameter locked: where in the batch a queue is whose rows somebody has locked.
    func appendPatiently(_ batch: [LogAppend], locked: Int? = nil) async throws -> [AppendOutcome] {
        var outcomes = try await append(batch)
        _ = try await eventually {
            let isLate = outcomes.indices.contains { if $0 != locked, case .failed(.busy) = outcomes[$0] { true } else { false } }
            guard isLate else { return true }
            // Those at fault are among them again: they must not keep the others.
            let left = outcomes.indices.filter { outcomes[$0] != .committed }
            for (index, outcome) in zip(left, try await append(left.map { batch[$0] })) { outcomes[index] = outcome }
            return false
        }
        return outcomes
    }

    func takeLease() async throws {
        _ = try await beat(writer, lease: .seconds(3_600), capacity: nil, after: .none, known: [])
    }
    var writer: InstanceID { InstanceID(high: 1, low: 1) }
}

extension QueueStore {
    /// A reader by this name has everything up to `seq`.
    func confirm(
        _ name: String, _ seq: UInt64, of queue: QueueID, tenant: TenantID, key: UInt64 = 1, isExplicit: Bool = true, limit: Int = 1_000
    ) async throws(StoreError) {
        let position = ConsumerPosition(
            tenant: tenant, queue: queue, key: KeyID(high: key, low: key), name: name, seq: seq, isExplicit: isExplicit)
        try await confirm(position, limit: limit)
    }
}
