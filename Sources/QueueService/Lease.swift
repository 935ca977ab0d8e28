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

/// What an instance is told when it says that it lives. All times are the store's clock.
public struct Beat: Sendable {
    /// How often an instance has said that it lives, as the store has counted it. An instance is told this with each beat and
    /// repeats it with the next one: a store that has counted less by then has gone back, restored from an older copy or
    /// promoted without its last commits.
    public struct Count: Sendable, Hashable {
        public let number: UInt64
        public let at: Timestamp
        /// Which history the store told: 0 at first, and another one each time that it is found to have gone back.
        public let history: UInt64
        public init(number: UInt64, at: Timestamp, history: UInt64) { (self.number, self.at, self.history) = (number, at, history) }

        /// Before the first beat.
        public static let none = Count(number: 0, at: .distantPast, history: 0)
        /// For how long after an instance's last beat its count is kept: much longer than any instance stands still.
        public static let kept = Timestamp.Span.seconds(86_400)
    }

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

    public var now: Timestamp { count.at }
    /// This beat among them.
    public let count: Count
    public var history: UInt64 { count.history }
    /// Since when the lease has been held without a break.
    public let heldSince: Timestamp
    /// The others, those among them whose leases have lapsed.
    public let peers: [Peer]
    /// Of the queues that were asked about, those whose log is elsewhere, and where.
    public let changed: [Head]
    /// Of the queues that were asked about, those that are not there any more.
    public let gone: [QueueID]

    public init(count: Count, heldSince: Timestamp, peers: [Peer], changed: [Head], gone: [QueueID]) {
        self.count = count
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
