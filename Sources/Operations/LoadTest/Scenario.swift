/// How many people come, how they behave, and what they may expect.
public struct Scenario: Codable, Sendable, Equatable {
    public var name: String
    /// People at once, when all are there.
    public var users = 0.0
    /// From the first to the last of them, in seconds.
    public var rampSeconds = 0.0
    /// The whole test, the ramp in it, in seconds.
    public var durationSeconds = 0.0
    /// How long somebody stays in the mean who is not admitted before, in seconds. As many come as leave.
    public var staySeconds = 0.0
    /// How many of a hundred have no WebSocket and poll.
    public var pollingPercent = 0.0
    /// From one poll of theirs to the next, in seconds.
    public var pollSeconds = 0.0
    /// How many of a hundred who hold a WebSocket lose it on the way and come back.
    public var sleepingPercent = 0.0
    /// How many are let in a minute.
    public var releasesPerMinute = 0.0
    /// How often integrators read the queue, a second.
    public var readsPerSecond = 0.0
    /// How often operators make a queue and delete it again, a second.
    public var createsPerSecond = 0.0
    /// From one announcement to the next, in seconds.
    public var announcementSeconds = 0.0
    /// What the 95th percentile of no operation may be above, in seconds.
    public var limitSeconds = 0.0
    /// How many of a hundred operations may fail.
    public var limitErrorPercent = 0.0

    /// Something that a scenario says, as it is called in a file, and what it may be.
    public struct Member: Sendable {
        public let name: String
        public let path: any WritableKeyPath<Scenario, Double> & Sendable
        public let range: ClosedRange<Double>
    }

    /// All that a scenario says beside its name.
    public static let members: [Member] = [
        Member(name: "users", path: \.users, range: 1...100_000),
        Member(name: "ramp-seconds", path: \.rampSeconds, range: 0...86_400),
        Member(name: "duration-seconds", path: \.durationSeconds, range: 1...86_400),
        Member(name: "stay-seconds", path: \.staySeconds, range: 1...86_400),
        Member(name: "polling-percent", path: \.pollingPercent, range: 0...100),
        Member(name: "poll-seconds", path: \.pollSeconds, range: 0.1...3_600),
        Member(name: "sleeping-percent", path: \.sleepingPercent, range: 0...100),
        Member(name: "releases-per-minute", path: \.releasesPerMinute, range: 0...1_000_000),
        Member(name: "reads-per-second", path: \.readsPerSecond, range: 0...100_000),
        Member(name: "creates-per-second", path: \.createsPerSecond, range: 0...1_000),
        Member(name: "announcement-seconds", path: \.announcementSeconds, range: 1...86_400),
        Member(name: "limit-seconds", path: \.limitSeconds, range: 0.001...60),
        Member(name: "limit-error-percent", path: \.limitErrorPercent, range: 0...100),
    ]

    /// One that says nothing yet.
    public init(name: String) { self.name = name }

    /// What is wrong with it; nil: nothing.
    public var fault: String? {
        for member in Scenario.members where !member.range.contains(self[keyPath: member.path]) {
            return
                "\(member.name) is \(self[keyPath: member.path]), and must be from \(member.range.lowerBound) to \(member.range.upperBound)"
        }
        return rampSeconds > durationSeconds ? "ramp-seconds is longer than duration-seconds" : nil
    }

    /// The same with fewer people, or more, in less time, or more.
    ///
    /// Who stays how long is not scaled: a shorter test is a shorter look at the same life.
    public func scaled(users share: Double, time: Double) -> Scenario {
        var scaled = self
        scaled.users = max(1, (users * share).rounded())
        scaled.readsPerSecond *= share
        scaled.releasesPerMinute = (releasesPerMinute * share).rounded()
        scaled.rampSeconds *= time
        scaled.durationSeconds *= time
        return scaled
    }
}
