import Logging
import QueueEngine

/// That this instance lives, and what becomes of those that do not.
extension QueueService {
    /// How much later than the one before it in turn an instance sees to what time brings.
    static let turnDelay = Timestamp.Span.seconds(1)

    /// How many are marked absent in one commit: others have to wait for it.
    static let buriedAtOnce = 5_000

    /// How many have a lease, this one among them.
    public var instanceCount: Int { peers.live.count + 1 }

    /// What the others have said that they can take in; none of those who have not said it.
    public var othersCapacity: [Capacity] { peers.capacities }

    /// From here on the others are told with each beat what this one can take in.
    public func report(_ capacity: @escaping @Sendable () -> Capacity) { self.capacity = capacity }

    /// Says that this instance lives, and learns what the others have done.
    func beat() async {
        let known = hosted.compactMapValues { $0.snapshot == nil ? nil : ($0.record.epoch, $0.state.position) }
        let asked = clock.now()
        do throws(StoreError) {
            let beat = try await askForLease(isFirst: false)
            endOutage()
            await learn(beat, known)
            if beat.heads.allSatisfy({ hosted[$0.queue] != nil }) { toldAt = asked }
            if !isBurying { Task { await bury(lapsed(beat)) } }
        } catch {
            beginOutage(ServiceError(error))
        }
        scheduleWake()
    }

    func askForLease(isFirst: Bool) async throws(StoreError) -> Beat {
        beatsUnderWay += 1
        defer {
            beatsUnderWay -= 1
            resumeIdleWaiters()
        }
        let asked = clock.now()
        let beat = try await store.beat(instance, lease: lease.duration, capacity: capacity?(), isFirst: isFirst)
        clock.calibrate(beat.now, roundTrip: clock.now() - asked)
        let live = beat.peers.filter { $0.expiresAt > beat.now }
        peers = Peers(live: live.map(\.id), capacities: live.compactMap(\.capacity))
        return beat
    }

    /// - Parameter known: how far the logs were here before the store was asked: it cannot have been behind that.
    private func learn(_ beat: Beat, _ known: [QueueID: (epoch: UInt64, position: LogPosition)]) async {
        for head in beat.heads {
            guard let queue = hosted[head.queue] else {
                await adopt(head.queue)
                continue
            }
            hosted[head.queue]?.storeHead = head.position.seq
            if let known = known[head.queue], known.epoch != head.epoch || !head.position.mayFollow(known.position) {
                await rebuild(head.queue, insteadOf: known.epoch)
            } else if head.position.seq > queue.state.head {
                await catchUp(head.queue)
            }
        }
        for gone in Set(known.keys).subtracting(beat.heads.map(\.queue)) { unhost(gone) }
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

    /// Marks absent who was held by instances that have gone. Doing it twice does it once.
    private func bury(_ lapsed: [Beat.Peer]) async {
        guard !lapsed.isEmpty else { return }
        isBurying = true
        defer { isBurying = false }
        for peer in lapsed {
            do {
                for queue in hosted.keys { try await bury(peer, queue) }
                try await store.removeLease(peer.id)
                log.notice("an instance has gone; whoever it held is marked absent", metadata: ["instance": "\(peer.id)"])
            } catch {
                // The next beat begins anew.
                log.warning("an instance has gone, and its visitors cannot be marked yet", metadata: ["error": "\(error)"])
            }
        }
    }

    private func bury(_ peer: Beat.Peer, _ queue: QueueID) async throws {
        var held = try await store.held(by: peer.id, in: queue)[...]
        while !held.isEmpty {
            let part = held.prefix(QueueService.buriedAtOnce)
            held = held.dropFirst(part.count)
            try await perform(on: queue) { decision throws(ServiceError) in
                try decision.markAbsent(part.filter { !decision.presence.holds($0) }, since: peer.expiresAt)
            }
        }
    }
}
