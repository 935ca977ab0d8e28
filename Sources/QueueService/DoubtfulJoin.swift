import QueueEngine

/// A join that was told to have failed, and that may be in the log all the same: the store went away with the answer.
///
/// Such a place has nobody in it. It would stand in line as if somebody were there, be let in and not come. So whoever
/// is found there is marked absent, and keeps the place for the grace period: who asks again, with a name or an
/// `Idempotency-Key`, finds it.
struct DoubtfulJoin {
    let queue: QueueID
    let session: SessionID
    let ticket: Ticket
    /// A server that was frozen may carry out what it was sent when it goes on.
    let until: Timestamp

    /// Twice the time that Postgres may take over a statement by default.
    static let patience = Timestamp.Span.seconds(60)
    static let pause = Timestamp.Span.seconds(5)
    /// How many are remembered. A place beyond that expires as a no-show.
    static let limit = 20_000
}

extension QueueService {
    /// Remembers the joins of a commit of which it is not known whether it happened.
    func doubt(_ decision: Decision) {
        let until = clock.now() + DoubtfulJoin.patience
        for (event, detail) in decision.events {
            guard case .joined(let ticket) = event.change, case .session(let id, _) = detail else { continue }
            guard doubtful.count < DoubtfulJoin.limit else { return }
            doubtful.append(DoubtfulJoin(queue: decision.record.id, session: id, ticket: ticket, until: until))
        }
    }

    /// Looks which of them have happened, now and for a while yet. During an outage nobody is asked: its end asks.
    func settleDoubts() async {
        guard outage == nil else { return }
        var asked = doubtful[...]
        doubtful = []
        while let join = asked.first {
            do throws(StoreError) {
                if let session = try await store.session(join.session) {
                    if session.status == .waiting, await !markAbsent(join) { doubtful.append(join) }
                } else if clock.now() < join.until {
                    doubtful.append(join)
                }
                asked.removeFirst()
            } catch {
                // The others would wait for the store as long.
                doubtful += asked
                break
            }
        }
        guard !doubtful.isEmpty, !isSettlingPlanned else { return }
        isSettlingPlanned = true
        wake(at: clock.now() + DoubtfulJoin.pause) {
            $0.isSettlingPlanned = false
            await $0.settleDoubts()
        }
    }

    /// False where the replica does not know of the place yet: what is decided there would not concern it.
    private func markAbsent(_ join: DoubtfulJoin) async -> Bool {
        // The place came into being behind this instance's back, and so the queue may have been put to rest here.
        if hosted[join.queue] == nil {
            do throws(StoreError) { try await loadServed(join.queue) } catch { return clock.now() >= join.until }
        }
        let epoch = hosted[join.queue]?.record.epoch
        await catchUp(join.queue)
        guard let queue = hosted[join.queue] else { return true }
        // In another line the ticket may be somebody else's: whoever is in this one is marked absent with everyone.
        guard queue.record.epoch == epoch else { return true }
        guard queue.state.isWaiting(join.ticket) else { return false }
        changePresence(of: join.queue) { $0.doubt(join.ticket) }
        return true
    }
}
