import Logging
import QueueEngine

/// That this instance lives, and what becomes of those that do not.
extension QueueService {
    /// How much later than the one before it in turn an instance sees to what time brings.
    static let turnDelay = Timestamp.Span.seconds(1)

    /// How many are marked absent in one commit: others have to wait for it.
    static let lostAtOnce = 5_000

    /// How many have a lease, this one among them.
    public var instanceCount: Int { peers.live.count + 1 }

    /// What the others have said that they can take in; none of those who have not said it.
    public var othersCapacity: [Capacity] { peers.capacities }

    /// From here on the others are told with each beat what this one can take in.
    public func report(_ capacity: @escaping @Sendable () -> Capacity) { self.capacity = capacity }

    /// Says that this instance lives, and learns what the others have done.
    func beat() async {
        if let heartbeat = await renewLease() { await learn(heartbeat) }
    }

    /// Says that this instance lives; nil where the store could not be told.
    func renewLease() async -> Heartbeat? {
        do throws(StoreError) {
            let heartbeat = try await askForLease()
            tryToEndOutage()
            if !isReleasingLeases { Task { await releaseLapsedLeases(lapsed(heartbeat.beat)) } }
            return heartbeat
        } catch {
            if error.isOutage { beginOutage(error) }
            return nil
        }
    }

    /// What the store answered, and what was known of each queue when it was asked: its log cannot have been behind that.
    typealias Heartbeat = (beat: Beat, known: [QueueID: Beat.Head])

    func askForLease() async throws(StoreError) -> Heartbeat {
        beatsUnderWay += 1
        defer {
            beatsUnderWay -= 1
            resumeIdleWaiters()
        }
        let known = hosted.compactMap { id, queue in
            queue.snapshot == nil ? nil : Beat.Head(queue: id, epoch: queue.record.epoch, position: queue.state.position)
        }
        let asked = clock.now()
        let beat = try await store.beat(
            instance, lease: lease.duration, capacity: capacity?(), after: lastBeat, known: known)
        note(beat)
        clock.calibrate(beat.now, roundTrip: clock.now() - asked)
        let live = beat.peers.filter { $0.expiresAt > beat.now }
        let before = peers.live
        peers = Peers(live: live.map(\.id), capacities: live.compactMap(\.capacity))
        if peers.live != before { scheduleWake() }
        return (beat, Dictionary(uniqueKeysWithValues: known.map { ($0.queue, $0) }))
    }

    /// Beats that are under way at the same time may be answered in any order.
    private func note(_ beat: Beat) {
        guard beat.count.number > lastBeat.number else { return }
        lastBeat = beat.count
        guard history != beat.history else { return }
        let isFirst = history == nil
        history = beat.history
        guard !isFirst else { return }
        log.error("the store has gone back: it was restored from an older copy, and every queue's log tells another history")
        if let historyChanged { Task { await historyChanged() } }
    }

    /// From here on `body` is run each time that the store is found to tell another history than before.
    public func whenHistoryChanges(_ body: @escaping @Sendable () async -> Void) { historyChanged = body }

    /// The same as `learn`, where that is not under way: what is left out now the next heartbeat tells again.
    func learnOnce(_ heartbeat: Heartbeat) async {
        guard !isLearning else { return }
        isLearning = true
        defer { isLearning = false }
        await learn(heartbeat)
    }

    /// Comes to know what the others have committed, as far as no message told it.
    private func learn(_ heartbeat: Heartbeat) async {
        let (beat, known) = heartbeat
        // Beside each other, as far as `catchUpGate` lets them: a queue of which much is to be read keeps no other waiting.
        let tasks = beat.changed.map { head in
            Task(executorPreference: executor.tasks) { await self.learn(head, known[head.queue]) }
        }
        for task in tasks { await task.value }
        for id in beat.gone { unhost(id) }
        do throws(StoreError) { try await wakeQueues() } catch {
            log.warning("queues that wake could not be read", metadata: ["error": "\(error)"])
        }
    }

    private func learn(_ head: Beat.Head, _ own: Beat.Head?) async {
        hosted[head.queue]?.storeHead = head.position.seq
        if let own, own.epoch != head.epoch || !head.position.mayFollow(own.position) {
            await rebuild(head.queue, insteadOf: own.epoch, hasBegun: own.epoch != head.epoch)
        } else if let queue = hosted[head.queue], head.position.seq > queue.state.head {
            await catchUp(head.queue)
            scheduleWake(for: CollectionOfOne(head.queue))
        }
    }

    /// How many events the queues' replicas are behind the store, as of the last beat; those that are not left out.
    public var lags: [QueueID: UInt64] {
        hosted.compactMapValues { $0.storeHead > $0.state.head ? $0.storeHead - $0.state.head : nil }
    }

    // MARK: Those who do not live any more

    /// Whose visitors this instance marks absent: it is the first of those that live.
    ///
    /// While this one had no lease nobody may have been able to renew one, so from then on everyone has a whole one's time.
    private func lapsed(_ beat: Beat) -> [Beat.Peer] {
        guard peers.live.allSatisfy({ instance < $0 }) else { return [] }
        return beat.peers.filter { max($0.expiresAt, beat.heldSince + lease.duration) <= beat.now }
    }

    /// Marks absent who was held by instances that have gone, and removes their leases. Doing it twice does it once.
    private func releaseLapsedLeases(_ lapsed: [Beat.Peer]) async {
        let now = clock.now()
        releaseAgainAt = releaseAgainAt.filter { id, _ in lapsed.contains { $0.id == id } }
        let due = lapsed.filter { releaseAgainAt[$0.id].map { $0 <= now } ?? true }
        guard !due.isEmpty else { return }
        isReleasingLeases = true
        defer { isReleasingLeases = false }
        // Queues in which somebody has come only lately are among those to look at.
        do throws(StoreError) { try await wakeQueues() } catch { return }
        for peer in due where await markLostInAllQueues(peer) {
            // The next heartbeat begins anew where it cannot be removed.
            guard (try? await store.removeLease(peer.id)) != nil else { continue }
            log.notice("an instance has gone; whoever it held is marked absent", metadata: ["instance": "\(peer.id)"])
        }
    }

    /// One queue that cannot be written keeps the lease for the next heartbeat, and no other queue waiting.
    ///
    /// Queues in which nobody waits as far as is known here are looked at, too: word of those who came last may be lost.
    private func markLostInAllQueues(_ peer: Beat.Peer) async -> Bool {
        var isDone = await !isHolding(peer, inAnyOf: unreadable.all.filter { hosted[$0] == nil })
        // People first: whoever of them has gone must not be admitted.
        let occupied = hosted.filter { $0.value.state.isOccupied }.map(\.key)
        let others = hosted.filter { !$0.value.state.isOccupied }.map(\.key)
        for id in occupied + others {
            // None of the others could be written either.
            guard outage == nil else { return false }
            do { isDone = try await markLost(peer, in: id) && isDone } catch {
                isDone = false
                log.warning(
                    "an instance has gone, and its visitors cannot be marked yet", metadata: ["queue": "\(id)", "error": "\(error)"])
            }
        }
        return isDone
    }

    /// Whether the peer holds somebody in one of these queues, which cannot be read now. Then all are looked at again, but not with
    /// each heartbeat: that costs a question for each queue.
    private func isHolding(_ peer: Beat.Peer, inAnyOf queues: [QueueID]) async -> Bool {
        for id in queues where (try? await store.held(by: peer.id, in: id))?.isEmpty != true {
            releaseAgainAt[peer.id] = clock.now() + .seconds(10)
            return true
        }
        return false
    }

    /// False where somebody is still counted among those whom the peer holds.
    private func markLost(_ peer: Beat.Peer, in queue: QueueID) async throws -> Bool {
        let epoch = hosted[queue]?.record.epoch
        var held = try await store.held(by: peer.id, in: queue)[...]
        if held.isEmpty { return true }
        // What is decided about somebody who is not known here yet would change nothing.
        if held.contains(where: { hosted[queue]?.state.isWaiting($0) != true }) { await catchUp(queue) }
        let now = clock.now()
        while !held.isEmpty {
            let part = held.prefix(QueueService.lostAtOnce)
            held = held.dropFirst(part.count)
            try await perform(on: queue, in: epoch) { decision throws(ServiceError) in
                // Who polls here, too, is this instance's from now on: should it die, they are looked for under its id.
                try decision.markPresent(part.filter { decision.presence.holds($0) }, anew: true)
                try decision.markLost(part.filter { !decision.presence.holds($0) }, since: peer.expiresAt, until: now)
            }
        }
        return try await store.held(by: peer.id, in: queue).isEmpty
    }
}
