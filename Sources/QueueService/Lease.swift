public import QueueEngine

/// A process that serves a store.
public enum Instance {}
public typealias InstanceID = Identifier<Instance>

/// What an instance can take in of those whom another one sends away.
public struct Capacity: Sendable, Hashable {
    /// Connections for which there is room.
    public let room: Int
    /// Visitors who may come in a second without those who are there noticing.
    public let arrivalsPerSecond: Int
    public init(room: Int, arrivalsPerSecond: Int) {
        self.room = room
        self.arrivalsPerSecond = arrivalsPerSecond
    }
}

/// How far a store has come. An instance is told with each beat, and says so with its next: then a store that was restored
/// from an older copy, or that lost what it had answered, finds out by itself.
public struct StoreMoment: Sendable, Hashable {
    /// Which history the store tells: 0 at first, and another one each time that it has gone back.
    public let history: UInt64
    /// Beats that it has counted. They become fewer only where the store has gone back.
    public let beats: UInt64
    public init(history: UInt64 = 0, beats: UInt64 = 0) { (self.history, self.beats) = (history, beats) }

    /// By how much the count of a store that has gone back is ahead of the one that showed it: instances that have seen a
    /// later beat than the one that found out do not find the same again.
    public static let leap: UInt64 = 1_000_000

    /// The epoch of a queue that was made with `first` while the store told `history`: another one for each history since, and even.
    public func epoch(madeWith first: UInt64, in history: UInt64) -> UInt64 {
        history == self.history ? first : (first ^ self.history) & ~1
    }
}

/// What an instance is told when it says that it lives. All times are the store's clock.
public struct Beat: Sendable {
    public struct Peer: Sendable, Hashable {
        public let id: InstanceID
        public let expiresAt: Timestamp
        /// As it said last; nil where it has not said.
        public let capacity: Capacity?
        public init(id: InstanceID, expiresAt: Timestamp, capacity: Capacity? = nil) {
            self.id = id
            self.expiresAt = expiresAt
            self.capacity = capacity
        }
    }

    public struct Head: Sendable, Hashable {
        public let queue: QueueID
        public let epoch: UInt64
        public let position: LogPosition
        public init(queue: QueueID, epoch: UInt64, position: LogPosition) {
            self.queue = queue
            self.epoch = epoch
            self.position = position
        }
    }

    public let now: Timestamp
    /// With this beat.
    public let moment: StoreMoment
    /// Since when the lease has been held without a break.
    public let heldSince: Timestamp
    /// The others, those among them whose leases have lapsed.
    public let peers: [Peer]
    /// Of the queues that were asked about, those whose log is elsewhere, and where.
    public let changed: [Head]
    /// Of the queues that were asked about, those that are not there any more.
    public let gone: [QueueID]

    public init(now: Timestamp, moment: StoreMoment, heldSince: Timestamp, peers: [Peer], changed: [Head], gone: [QueueID]) {
        self.now = now
        self.moment = moment
        self.heldSince = heldSince
        self.peers = peers
        self.changed = changed
        self.gone = gone
    }
}

/// Who else serves the store, as of the last beat.
struct Peers {
    /// Those with a lease.
    var live: [InstanceID] = []
    /// What they said last that they can take in, of those who have said it.
    var capacities: [Capacity] = []

    /// How many of them come before `instance` in seeing to a queue's time: 0 where it is the first.
    ///
    /// By rendezvous (Thaler and Ravishankar, 1998): every instance finds the same order without asking anybody, and
    /// where one goes, only its queues move.
    func turn(of instance: InstanceID, for queue: QueueID) -> Int {
        let own = Peers.weight(instance, queue)
        return live.count { (Peers.weight($0, queue), $0) < (own, instance) }
    }

    private static func weight(_ instance: InstanceID, _ queue: QueueID) -> UInt64 {
        var bits = instance.low ^ instance.high &* 0x9E37_79B9_7F4A_7C15 ^ queue.low ^ queue.high &* 0xC2B2_AE3D_27D4_EB4F
        // The finalizer of SplitMix64: one bit that differs changes half of them.
        bits = (bits ^ bits >> 30) &* 0xBF58_476D_1CE4_E5B9
        bits = (bits ^ bits >> 27) &* 0x94D0_49BB_1331_11EB
        return bits ^ bits >> 31
    }
}

/// How long an instance is believed to live after its last word.
public struct LeaseSettings: Sendable {
    /// Ten beats.
    public var duration: Timestamp.Span
    public init(duration: Timestamp.Span = .seconds(10)) { self.duration = duration }
    var beat: Timestamp.Span { Timestamp.Span(microseconds: duration.microseconds / 10) }
}
