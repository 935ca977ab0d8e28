import Foundation
import GRDB
import QueueEngine
public import QueueService

extension SQLiteStore {
    public func append(_ batch: [LogAppend], by instance: InstanceID) async throws(StoreError) -> [AppendOutcome] {
        try await halving(batch[...], by: instance)
    }

    /// Appends what can be written: where a page is damaged, the halves apart, down to the queue at fault. SQLite refuses every
    /// write of a transaction in which it has found damage, so a savepoint for each queue does not help.
    private func halving(_ batch: ArraySlice<LogAppend>, by instance: InstanceID) async throws(StoreError) -> [AppendOutcome] {
        do throws(StoreError) { return try await commit(batch, by: instance) } catch {
            guard case .corrupt = error else { throw error }
            guard batch.count > 1 else { return batch.map { _ in .failed(error) } }
        }
        let middle = batch.startIndex + batch.count / 2
        let first = try await halving(batch[..<middle], by: instance)
        // From here on something may be committed: an error concerns the second half alone.
        let second = batch[middle...]
        do throws(StoreError) { return first + (try await halving(second, by: instance)) } catch {
            return first + second.map { _ in .failed(error) }
        }
    }

    private func commit(_ batch: ArraySlice<LogAppend>, by instance: InstanceID) async throws(StoreError) -> [AppendOutcome] {
        try await writing { db in
            guard try SQLiteStore.hasLease(instance, db) else { return batch.map { _ in .lapsed } }
            return try batch.map { append in
                guard !append.hasNUL else { return .failed(.rejected("a text holds a NUL character")) }
                var outcome = AppendOutcome.committed
                do {
                    try db.inSavepoint {
                        outcome = try SQLiteAppend(db, append, instance).run()
                        return outcome == .committed ? .commit : .rollback
                    }
                } catch {
                    // Values that are not taken must not fail the neighbours.
                    guard case .rejected = StoreError(error) else { throw error }
                    outcome = .failed(StoreError(error))
                }
                return outcome
            }
        }
    }
}

/// One queue's part of a transaction: the head, the log, and the rows that each event changes.
private struct SQLiteAppend {
    private let db: Database
    private let append: LogAppend
    private let queue: Data
    private let tenant: Data
    private let instance: Data

    init(_ db: Database, _ append: LogAppend, _ instance: InstanceID) {
        self.instance = instance.data
        self.db = db
        self.append = append
        queue = append.record.id.data
        tenant = append.record.tenant.data
    }

    func run() throws -> AppendOutcome {
        do {
            guard try moveHead() else { return .behind }
        } catch let error as DatabaseError where error.resultCode == .SQLITE_CONSTRAINT {
            return .slugTaken
        }
        for (index, entry) in append.events.enumerated() {
            do {
                try write(entry.event, entry.detail)
            } catch let error as DatabaseError where error.resultCode == .SQLITE_CONSTRAINT {
                return .userConflict(eventIndex: index)
            }
        }
        for (index, receipt) in append.receipts.enumerated() {
            do {
                try SQLiteStore.insert(receipt, db)
            } catch let error as DatabaseError where error.resultCode == .SQLITE_CONSTRAINT {
                return .receiptConflict(index: index)
            }
        }
        return .committed
    }

    private func execute(_ sql: String, _ arguments: StatementArguments) throws {
        try db.cachedStatement(sql: sql).execute(arguments: arguments)
    }

    private func moveHead() throws -> Bool {
        let record = append.record
        let head = Int64(append.expected.seq) + Int64(append.events.count)
        let counters = JSON.encode(append.counters)
        let at = append.events.last?.event.at.microseconds
        let wakeAt = append.wakeAt?.microseconds
        if append.expected.seq == 0, !append.events.isEmpty {
            try execute(
                """
                INSERT INTO queues (id, tenant_id, epoch, slug, name, description, redirect_url, configuration, status, head,
                    last_event_at, counters, created_at, is_occupied, wake_at, history)
                    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, (SELECT id FROM store_history))
                """,
                [
                    queue, tenant, Int64(bitPattern: record.epoch), record.slug, record.name, record.description,
                    record.redirectURL, JSON.encode(record.configuration), append.status.rawValue, head, at, counters,
                    record.createdAt.microseconds, append.isOccupied, wakeAt,
                ])
            return true
        }
        try execute(
            """
            UPDATE queues SET head = ?, status = ?, counters = ?, last_event_at = coalesce(?, last_event_at),
                wake_at = CASE WHEN is_occupied AND ?5 THEN wake_at ELSE ?6 END, is_occupied = ?5
            WHERE id = ?7 AND head = ?8 AND last_event_at = ?9 AND is_active
            """,
            [
                head, append.status.rawValue, counters, at, append.isOccupied, wakeAt, queue, Int64(append.expected.seq),
                append.expected.at.microseconds,
            ])
        guard db.changesCount == 1 else { return false }
        if append.events.contains(where: { if case .configured = $0.event.change { true } else { false } }) {
            try execute(
                "UPDATE queues SET slug = ?, name = ?, description = ?, redirect_url = ?, configuration = ? WHERE id = ?",
                [record.slug, record.name, record.description, record.redirectURL, JSON.encode(record.configuration), queue])
        }
        return true
    }

    private func write(_ event: QueueEvent, _ detail: LogAppend.Detail) throws {
        let stored = StoredChange(event.change)
        try execute(
            "INSERT INTO log (queue_id, seq, tenant_id, at, type, ticket, data) VALUES (?, ?, ?, ?, ?, ?, ?)",
            [queue, Int64(event.seq), tenant, event.at.microseconds, stored.type, stored.ticket?.column, stored.data])
        try changeRows(event, detail)
    }

    private func changeRows(_ event: QueueEvent, _ detail: LogAppend.Detail) throws {
        let at = event.at.microseconds
        switch event.change {
        case .configured, .opened, .paused, .resumed: break
        case .closed:
            try execute("UPDATE queues SET closed_seq = ?, closed_at = ? WHERE id = ?", [Int64(event.seq), at, queue])
        case .joined(let ticket): try insertSession(ticket, event, detail)
        case .connected(let arrivals): try setAbsence(TicketRange.merging(arrivals.map(\.range)), nil, event)
        case .disconnected(let ranges): try setAbsence(ranges, at, event)
        case .lost(let ranges, let since, _): try setAbsence(ranges, since.microseconds, event)
        case .everyoneDisconnected:
            try execute("UPDATE queues SET unseen_seq = ?, unseen_at = ? WHERE id = ?", [Int64(event.seq), at, queue])
        case .admitted(let ticket, let until):
            try execute(
                """
                UPDATE user_sessions SET status = 'admitted', admitted_at = ?, expires_at = ?, absent_since = NULL
                WHERE queue_id = ? AND ticket = ?
                """, [at, until.microseconds, queue, ticket.column])
        case .completed(let ticket): try end(ticket, "completed", nil, at)
        case .left(let ticket): try end(ticket, "left", nil, at)
        case .expired(let ticket, let reason): try end(ticket, "expired", reason.rawValue, at)
        case .announced:
            guard case .announcement(let text, let severity, let expiresAt) = detail else { return }
            try execute(
                """
                INSERT INTO announcements (queue_id, seq, tenant_id, text, severity, published_at, expires_at)
                VALUES (?, ?, ?, ?, ?, ?, ?)
                """, [queue, Int64(event.seq), tenant, text, severity.rawValue, at, expiresAt?.microseconds])
        }
    }

    private func insertSession(_ ticket: Ticket, _ event: QueueEvent, _ detail: LogAppend.Detail) throws {
        guard case .session(let id, let visitor) = detail else { return }
        try execute(
            """
            INSERT INTO user_sessions (queue_id, ticket, id, tenant_id, user, label, display_name, metadata, status, created_at,
                instance, presence_seq) VALUES (?, ?, ?, ?, ?, ?, ?, ?, 'waiting', ?, ?, ?)
            """,
            [
                queue, ticket.column, id.data, tenant, visitor.user, visitor.label, visitor.displayName, visitor.metadata,
                event.at.microseconds, instance, Int64(event.seq),
            ])
    }

    private func setAbsence(_ ranges: [TicketRange], _ since: Int64?, _ event: QueueEvent) throws {
        for range in ranges {
            try execute(
                """
                UPDATE user_sessions SET absent_since = ?1, instance = CASE WHEN ?1 IS NULL THEN ?2 ELSE instance END,
                    presence_seq = ?3
                WHERE queue_id = ?4 AND ticket BETWEEN ?5 AND ?6 AND status = 'waiting'
                """,
                [since, instance, Int64(event.seq), queue, range.first.column, range.first.column + Int64(range.count) - 1])
        }
    }

    private func end(_ ticket: Ticket, _ status: String, _ reason: String?, _ at: Int64) throws {
        try execute(
            """
            UPDATE user_sessions SET status = ?, end_reason = ?, ended_at = ?, absent_since = NULL
            WHERE queue_id = ? AND ticket = ?
            """, [status, reason, at, queue, ticket.column])
    }
}

extension LogAppend {
    /// SQLite ends a text at a NUL, so that two names might become one.
    fileprivate var hasNUL: Bool {
        events.contains { _, detail in
            switch detail {
            case .session(_, let visitor):
                [visitor.user, visitor.label, visitor.displayName, visitor.metadata].contains { $0?.hasNUL ?? false }
            case .announcement(let text, _, _): text.hasNUL
            case .none: false
            }
        }
            || [record.slug, record.name, record.description, record.redirectURL ?? ""].contains { $0.hasNUL }
            || receipts.contains { $0.key.hasNUL }
    }
}

extension String {
    var hasNUL: Bool { utf8.contains(0) }
}

extension Identifier {
    var data: Data { Data(bytes) }
}

extension Ticket {
    /// Lanes are few, so the highest bit is never set.
    var column: Int64 { Int64(rawValue) }
}
