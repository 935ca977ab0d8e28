/// What an operator sets about a queue's line. Presentation (name, texts, addresses) is not the engine's.
public struct QueueConfiguration: Sendable, Hashable, Codable {
    /// Admitted and not yet completed, at most. 1…10,000,000.
    public var maxConcurrentUsers: Int
    /// Admissions in any 60 seconds, at most. 0…1,000,000; 0 releases nobody.
    public var releaseRatePerMinute: Int
    /// How long somebody without a connection keeps the place, in seconds.
    public var graceSeconds: Int
    /// How long an admission can be used, in seconds.
    public var admissionTTLSeconds: Int
    /// How many may wait at once; nil: any number.
    public var maxWaiting: Int?
    /// When a scheduled queue opens; nil: at once. Means nothing once the queue has opened, and cannot be set from then on.
    public var opensAt: Timestamp?
    /// When the queue closes by itself.
    public var closesAt: Timestamp?
    /// For how long the line waits for people whom a restart has disconnected, in seconds: nobody is admitted ahead of them
    /// meanwhile. 0…600.
    public var settleSeconds: Int
    /// Lanes that go ahead of the general one, the most favoured first. At most 8.
    public var priorityLanes: [PriorityLane]

    public init(
        maxConcurrentUsers: Int = 1_000, releaseRatePerMinute: Int = 60, graceSeconds: Int = 300,
        admissionTTLSeconds: Int = 600, maxWaiting: Int? = nil, opensAt: Timestamp? = nil, closesAt: Timestamp? = nil,
        settleSeconds: Int = QueueConfiguration.defaultSettleSeconds, priorityLanes: [PriorityLane] = []
    ) {
        self.maxConcurrentUsers = maxConcurrentUsers
        self.releaseRatePerMinute = releaseRatePerMinute
        self.graceSeconds = graceSeconds
        self.admissionTTLSeconds = admissionTTLSeconds
        self.maxWaiting = maxWaiting
        self.opensAt = opensAt
        self.closesAt = closesAt
        self.settleSeconds = settleSeconds
        self.priorityLanes = priorityLanes
    }

    /// As long as a browser's own pauses between attempts take.
    public static let defaultSettleSeconds = 15

    /// Reads also what was written before there was `settleSeconds`.
    public init(from decoder: any Decoder) throws {
        let values = try decoder.container(keyedBy: CodingKeys.self)
        self.init(
            maxConcurrentUsers: try values.decode(Int.self, forKey: .maxConcurrentUsers),
            releaseRatePerMinute: try values.decode(Int.self, forKey: .releaseRatePerMinute),
            graceSeconds: try values.decode(Int.self, forKey: .graceSeconds),
            admissionTTLSeconds: try values.decode(Int.self, forKey: .admissionTTLSeconds),
            maxWaiting: try values.decodeIfPresent(Int.self, forKey: .maxWaiting),
            opensAt: try values.decodeIfPresent(Timestamp.self, forKey: .opensAt),
            closesAt: try values.decodeIfPresent(Timestamp.self, forKey: .closesAt),
            settleSeconds: try values.decodeIfPresent(Int.self, forKey: .settleSeconds) ?? QueueConfiguration.defaultSettleSeconds,
            priorityLanes: try values.decode([PriorityLane].self, forKey: .priorityLanes))
    }

    /// Lane 0 is the general one; lane `i` is `priorityLanes[i - 1]`.
    public func laneIndex(named name: String) -> Int? { priorityLanes.firstIndex { $0.name == name }.map { $0 + 1 } }
}

/// A lane with priority.
public struct PriorityLane: Sendable, Hashable, Codable {
    public var name: String
    /// Of every 100 admissions, how many go to this lane while somebody waits in it. 1…100; 100: strictly first.
    public var sharePercent: Int

    public init(name: String, sharePercent: Int = 100) {
        self.name = name
        self.sharePercent = sharePercent
    }

    var isStrict: Bool { sharePercent >= 100 }
}

public enum QueueStatus: String, Sendable, Hashable, CaseIterable {
    /// Takes joins and releases nobody until `opensAt`.
    case scheduled
    case open
    /// Takes joins and releases nobody.
    case paused
    /// Takes no joins; nobody waits.
    case closed
}
