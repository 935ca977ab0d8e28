import EventLoop
import Locks
import QueueEngine
public import QueueService

extension PostgresStore {
    /// Appends without the queues of which another transaction has locked a row and does not end: that of an administrator who
    /// has changed one by hand and not committed yet, say. The first append waits for the lock; from then on the queue is tried
    /// apart from the others, for a moment.
    public func append(_ batch: [LogAppend], by instance: InstanceID) async throws(StoreError) -> [AppendOutcome] {
        let deadline = PostgresStore.moment(inMilliseconds: 1_000 * settings.answerSeconds)
        let suspects = suspects.withLock { $0.isEmpty ? [] : $0.intersection(batch.map(\.record.id)) }
        guard !suspects.isEmpty else { return try await appendSkippingLocked(batch, by: instance, until: deadline) }
        let others = batch.filter { !suspects.contains($0.record.id) }
        var outcomes: [QueueID: AppendOutcome] = [:]
        for (append, outcome) in zip(others, try await appendSkippingLocked(others, by: instance, until: deadline)) {
            outcomes[append.record.id] = outcome
        }
        // In any order: where there is no time for all, it is not always the same ones that are left.
        let last = batch.filter { suspects.contains($0.record.id) }.shuffled()
        // A queue that is busy on several instances may be locked by another's commit at just this moment, so few are waited for.
        let locked = last.count > PostgresStore.waitedFor ? (try? await lockedElsewhere(of: suspects)) ?? [] : []
        let end = min(deadline, PostgresStore.moment(inMilliseconds: settings.suspectsMilliseconds))
        for (append, outcome) in zip(last, await appendBisecting(last[...], without: locked, by: instance, until: end)) {
            outcomes[append.record.id] = outcome
        }
        return try PostgresStore.throwIfAway(batch.map { outcomes[$0.record.id]! })
    }

    /// Throws where it is known that nothing was committed, and not for rows or damage: the store itself is away.
    private static func throwIfAway(_ outcomes: [AppendOutcome]) throws(StoreError) -> [AppendOutcome] {
        if outcomes.allSatisfy({ $0.isFailure && !$0.isInDoubt }), let error = outcomes.lazy.compactMap(\.outage).first { throw error }
        return outcomes
    }

    private static func moment(inMilliseconds milliseconds: Int) -> UInt64 { EventLoop.monotonicNow() + UInt64(milliseconds) * 1_000_000 }

    private func appendSkippingLocked(
        _ batch: [LogAppend], by instance: InstanceID, until deadline: UInt64
    ) async throws(StoreError) -> [AppendOutcome] {
        guard !batch.isEmpty else { return [] }
        let outcomes: [AppendOutcome]
        do throws(PostgresError) { outcomes = try await halving(batch[...], by: instance, until: deadline) } catch {
            guard error.isLockTimeout, !error.isInDoubt else { throw StoreError(error) }
            let locked = try await lockedElsewhere(of: Set(batch.map(\.record.id)))
            // Behind a row that is locked somebody may wait for the whole table, and everybody behind them.
            try await checkTables()
            outcomes = await appendBisecting(batch[...], without: locked, by: instance, until: deadline)
        }
        return try PostgresStore.throwIfAway(outcomes)
    }

    /// How long an append that looks for the queue with a locked row waits for each lock, in milliseconds; for that of one
    /// queue alone, long enough for a few commits of other instances.
    private static let (bisectionLockMilliseconds, lastLockMilliseconds) = (10, 25)
    /// How many queues whose rows may be locked are each waited for.
    private static let waitedFor = 8

    /// Appends what can be appended without waiting, in halves down to the queues of which a row is locked.
    ///
    /// - Parameter locked: queues that are known to be among these.
    private func appendBisecting(
        _ batch: ArraySlice<LogAppend>, without locked: Set<QueueID>, by instance: InstanceID, until deadline: UInt64
    ) async -> [AppendOutcome] {
        let free = locked.isEmpty ? batch : batch.filter { !locked.contains($0.record.id) }[...]
        if free.count < batch.count {
            var found = await appendBisecting(free, without: [], by: instance, until: deadline)[...]
            return batch.map { locked.contains($0.record.id) ? PostgresStore.lockedOutcome : found.removeFirst() }
        }
        guard !batch.isEmpty else { return [] }
        guard EventLoop.monotonicNow() < deadline else {
            // Tried apart the next time: whoever is among them without reason does not wait again with the others.
            remember(Set(batch.map(\.record.id)))
            return batch.map { _ in PostgresStore.lockedOutcome }
        }
        do throws(PostgresError) {
            let wait = batch.count == 1 ? PostgresStore.lastLockMilliseconds : PostgresStore.bisectionLockMilliseconds
            let outcomes = try await halving(batch, by: instance, until: deadline, waiting: wait)
            forget(zip(batch, outcomes).filter { !$1.isFailure }.map(\.0.record.id))
            return outcomes
        } catch {
            guard error.isLockTimeout, !error.isInDoubt else { return batch.map { _ in .failed(StoreError(error)) } }
            if !error.isRowLockTimeout {
                do throws(StoreError) { try await checkTables() } catch { return batch.map { _ in .failed(error) } }
            }
            if batch.count == 1 {
                remember([batch.first!.record.id])
                return [PostgresStore.lockedOutcome]
            }
        }
        let middle = batch.startIndex + batch.count / 2
        return await appendBisecting(batch[..<middle], without: [], by: instance, until: deadline)
            + appendBisecting(batch[middle...], without: [], by: instance, until: deadline)
    }

    private static let lockedOutcome = AppendOutcome.failed(.busy("another transaction has locked a row of the queue, or may have"))

    /// Throws where a table is locked, for which everybody waits.
    private func checkTables() async throws(StoreError) {
        // Changes that concern no row wait for nothing else.
        let changes: [PostgresCall] = [
            PostgresCall("UPDATE queues SET name = name WHERE false"), PostgresCall("UPDATE user_sessions SET label = label WHERE false"),
            PostgresCall("UPDATE log SET type = type WHERE false"), PostgresCall("UPDATE receipts SET result = result WHERE false"),
            PostgresCall("UPDATE announcements SET text = text WHERE false"),
        ]
        let calls = [PostgresStore.waiting(PostgresStore.bisectionLockMilliseconds)] + changes
        do throws(PostgresError) { _ = try await run(calls, seconds: settings.answerSeconds, lane: .commits).get() } catch {
            throw StoreError(error)
        }
    }

    /// For how long the rest of the transaction waits for each lock.
    private static func waiting(_ milliseconds: Int) -> PostgresCall {
        PostgresCall("SELECT set_config('lock_timeout', $1::bigint::text, true)").with(Int64(milliseconds))
    }

    /// Those of the queues whose rows another transaction has locked; remembers which they are.
    private func lockedElsewhere(of queues: Set<QueueID>) async throws(StoreError) -> Set<QueueID> {
        guard !queues.isEmpty else { return [] }
        var ids = PostgresColumn<QueueID>()
        for queue in queues { ids.append(queue) }
        let call = PostgresCall(
            """
            WITH free AS (SELECT id FROM queues WHERE id = ANY ($1) FOR NO KEY UPDATE SKIP LOCKED)
            SELECT id FROM queues WHERE id = ANY ($1) AND id NOT IN (SELECT id FROM free)
            """
        ).with(ids)
        var locked: Set<QueueID> = []
        for row in try await rows(call, lane: .commits) { locked.insert(try row.get(0)) }
        remember(locked)
        return locked
    }

    private func forget(_ queues: [QueueID]) { suspects.withLock { if !$0.isEmpty { $0.subtract(queues) } } }

    private func remember(_ locked: Set<QueueID>) {
        suspects.withLock { suspects in
            suspects.formUnion(locked)
            // To forget one costs the next append that waits for it.
            while suspects.count > PostgresStore.suspectsLimit { suspects.removeFirst() }
        }
    }

    private static let suspectsLimit = 1_000

    /// Appends what the server takes: where it refuses values, or finds damage, the halves apart, down to the queue at fault.
    ///
    /// - Parameter waiting: for how many milliseconds a lock is waited for; nil: as long as is set for all.
    private func halving(
        _ batch: ArraySlice<LogAppend>, by instance: InstanceID, until deadline: UInt64, waiting: Int? = nil
    ) async throws(PostgresError) -> [AppendOutcome] {
        do throws(PostgresError) { return try await append(batch, by: instance, until: deadline, waiting: waiting) } catch {
            guard error.isRejection || error.isDamage, !error.isInDoubt else { throw error }
            guard batch.count > 1 else { return [.failed(StoreError(error))] }
        }
        // A disk that fails slowly must not hold up everybody for as long as all queues take one by one.
        guard EventLoop.monotonicNow() < deadline else { return batch.map { _ in .failed(.busy("there was no time to try it apart")) } }
        let middle = batch.startIndex + batch.count / 2
        let first = try await halving(batch[..<middle], by: instance, until: deadline, waiting: waiting)
        // From here on something may be committed: an error concerns the second half alone.
        let second = batch[middle...]
        do throws(PostgresError) {
            return first + (try await halving(second, by: instance, until: deadline, waiting: waiting))
        } catch {
            if error.isLockTimeout, !error.isInDoubt {
                return first + (await appendBisecting(second, without: [], by: instance, until: deadline))
            }
            return first + second.map { _ in .failed(StoreError(error)) }
        }
    }

    /// Appends, and repeats that until it is known whether it has happened.
    ///
    /// A connection that is lost with the answer leaves that open. To append once more is safe: where the first attempt
    /// did it, the log is further on, and holds these very events. Whatever stands against the second attempt may have
    /// been brought about by the first one, so the log is asked before an outcome is believed.
    private func append(
        _ batch: ArraySlice<LogAppend>, by instance: InstanceID, until deadline: UInt64, waiting: Int?
    ) async throws(PostgresError) -> [AppendOutcome] {
        // In this transaction alone.
        let calls = (waiting.map { [PostgresStore.waiting($0)] } ?? []) + [AppendStatement(batch, by: instance).call]
        var wasInDoubt = false
        var turns = 0
        while true {
            turns += 1
            do throws(PostgresError) {
                let rows = try await run(calls, seconds: settings.answerSeconds, lane: .commits).get().last!.rows
                let outcomes = try PostgresStore.outcomes(rows, of: batch)
                guard wasInDoubt else { return outcomes }
                var certain: [AppendOutcome] = []
                for (outcome, append) in zip(outcomes, batch) {
                    guard outcome != .committed else {
                        certain.append(.committed)
                        continue
                    }
                    certain.append(try await holds(append) ? .committed : outcome)
                }
                return certain
            } catch {
                // Values that the server does not take cannot have been committed.
                if error.isRejection, !error.isUniqueViolation { throw error }
                wasInDoubt = wasInDoubt || error.isInDoubt
                // A row of somebody else's was in the way; now it is there to be seen.
                let mayBeRepeated = wasInDoubt || error.isGivingWay || error.isUniqueViolation && batch.count == 1 && turns < 5
                guard mayBeRepeated, EventLoop.monotonicNow() < deadline else {
                    var last = error
                    last.isInDoubt = wasInDoubt
                    throw last
                }
                // Whoever only stood in the way is gone; a server in trouble is left alone for longer each time.
                if !error.isGivingWay && !error.isUniqueViolation || turns > 5 { await settings.pause(turns) }
            }
        }
    }

    private static func outcomes(_ rows: [PostgresRow], of batch: ArraySlice<LogAppend>) throws(PostgresError) -> [AppendOutcome] {
        do throws(StoreError) {
            var found: [QueueID: AppendOutcome] = [:]
            for row in rows { found[try row.get(0)] = try outcome(row) }
            return batch.map { found[$0.record.id] ?? .behind }
        } catch {
            // It may have been committed.
            throw PostgresError(state: "XX000", message: "\(error)", isInDoubt: true)
        }
    }

    private static func outcome(_ row: PostgresRow) throws(StoreError) -> AppendOutcome {
        if try row.get(2) { return .committed }
        if try row.get(6) { return .lapsed }
        guard try row.get(1) else { return .behind }
        if try row.get(7) { return .reserved }
        if try row.get(5) { return .slugTaken }
        if let event = try row.optional(3, as: Int64.self) { return .userConflict(eventIndex: Int(event)) }
        if let receipt = try row.optional(4, as: Int64.self) { return .receiptConflict(index: Int(receipt)) }
        return .behind
    }

    /// Whether this very append is in the store, and not somebody else's under its numbers. One without events is known
    /// by its receipts, and one without either has left nothing to be found.
    private func holds(_ append: LogAppend) async throws(PostgresError) -> Bool {
        if append.events.isEmpty { return try await holdsReceipts(of: append) }
        let call = PostgresStore.entriesCall(of: append.record.id, after: append.expected.seq, limit: append.events.count)
        let entries: [LogEntry]
        do throws(StoreError) {
            let rows = try await reading([call], lane: .commits)[0].rows
            entries = try rows.map(PostgresStore.entry)
        } catch {
            throw .lost("\(error)", isInDoubt: true)
        }
        return entries.count == append.events.count
            && zip(entries, append.events).allSatisfy { entry, own in
                guard entry.event == own.event else { return false }
                if case .session(let id, _) = own.detail, case .joined = own.event.change { return entry.session == id }
                return true
            }
    }

    private func holdsReceipts(of append: LogAppend) async throws(PostgresError) -> Bool {
        for receipt in append.receipts {
            do throws(StoreError) {
                guard try await self.receipt(tenant: receipt.tenant, key: receipt.key, lane: .commits) == receipt else { return false }
            } catch {
                throw .lost("\(error)", isInDoubt: true)
            }
        }
        return !append.receipts.isEmpty
    }
}

extension AppendOutcome {
    fileprivate var isInDoubt: Bool { if case .failed(.inDoubt) = self { true } else { false } }

    /// The store could not be reached, or no table be changed.
    fileprivate var outage: StoreError? {
        if case .failed(let error) = self, case .unavailable = error { error } else { nil }
    }
}
