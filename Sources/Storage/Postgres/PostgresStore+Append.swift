import EventLoop
import QueueEngine
public import QueueService

extension PostgresStore {
    public func append(_ batch: [LogAppend], by instance: InstanceID) async throws(StoreError) -> [AppendOutcome] {
        let deadline = EventLoop.monotonicNow() + UInt64(settings.answerSeconds) * 1_000_000_000
        do throws(PostgresError) {
            return try await append(batch, by: instance, until: deadline)
        } catch {
            guard batch.count > 1, error.state != nil, !error.isInDoubt else { throw StoreError(error) }
        }
        // There is something in it that the server does not take, and that must not fail its neighbours.
        var outcomes: [AppendOutcome] = []
        for one in batch {
            do throws(PostgresError) {
                outcomes += try await append([one], by: instance, until: deadline)
            } catch {
                outcomes.append(.failed(StoreError(error)))
            }
        }
        return outcomes
    }

    /// Appends, and goes on asking until it is known whether that has happened.
    ///
    /// A connection that is lost with the answer leaves that open. To append once more is safe: where the first time
    /// did it, the log is further on, and holds these very events.
    private func append(
        _ batch: [LogAppend], by instance: InstanceID, until deadline: UInt64
    ) async throws(PostgresError) -> [AppendOutcome] {
        let call = AppendStatement(batch, by: instance).call
        var wasInDoubt = false
        var turns = 0
        while true {
            turns += 1
            do throws(PostgresError) {
                let rows = try await run([call], seconds: settings.answerSeconds).get()[0].rows
                let outcomes = try PostgresStore.outcomes(rows, of: batch)
                guard wasInDoubt else { return outcomes }
                var certain: [AppendOutcome] = []
                for (outcome, append) in zip(outcomes, batch) {
                    certain.append(outcome == .behind ? try await holds(append) ? .committed : .behind : outcome)
                }
                return certain
            } catch {
                wasInDoubt = wasInDoubt || error.isInDoubt
                // A row of somebody else's was in the way; now it is there to be seen.
                let mayBeRepeated = wasInDoubt || error.isGivingWay || error.isUniqueViolation && batch.count == 1 && turns < 5
                guard mayBeRepeated, EventLoop.monotonicNow() < deadline else {
                    throw PostgresError(state: error.state, message: error.message, isInDoubt: wasInDoubt)
                }
                if error.state == nil { try? await Task.sleep(for: .milliseconds(50)) }
            }
        }
    }

    private static func outcomes(_ rows: [PostgresRow], of batch: [LogAppend]) throws(PostgresError) -> [AppendOutcome] {
        do throws(StoreError) {
            var found: [QueueID: AppendOutcome] = [:]
            for row in rows { found[try row.get(0)] = try outcome(row) }
            return batch.map { found[$0.record.id] ?? .behind }
        } catch {
            throw PostgresError(state: "XX000", message: "\(error)")
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

    /// Whether the log holds these events, and not somebody else's under their numbers.
    private func holds(_ append: LogAppend) async throws(PostgresError) -> Bool {
        do throws(StoreError) {
            let entries = try await entries(of: append.record.id, after: append.expected.seq, limit: append.events.count)
            return entries.count == append.events.count
                && zip(entries, append.events).allSatisfy { entry, own in
                    guard entry.event == own.event else { return false }
                    if case .session(let id, _) = own.detail, case .joined = own.event.change { return entry.session == id }
                    return true
                }
        } catch {
            throw .lost("\(error)", isInDoubt: true)
        }
    }
}
