public import QueueEngine
public import QueueService

/// What a seed chooses once for its whole world.
public struct Options: Sendable {
    public var kind = Kind.storm
    /// How many it lives at most.
    public var days = 2
    public var instances = 1
    public var tenants = 1
    public var queues = 1
    /// Queues that nobody ever visits.
    public var restingQueues = 0
    public var lease = Timestamp.Span.seconds(10)
    public var restAfter = Timestamp.Span.seconds(120)
    public var retention = RetentionSettings()
    public var cacheCapacity = 5_000
    /// Without a bus only heartbeats and lost races tell what others have done.
    public var hasBus = true
    public var reserves = false
    /// How wrong a machine's clock may be, in seconds.
    public var clockError = 0.0
    /// Mean seconds between two visitors of a queue.
    public var arrivalEvery = 10.0
    /// Crowds come often and are let in fast, and many of those who wait lose the connection.
    public var isBusy = false
    /// Mean seconds between two crowds that come at once; 0: none do.
    public var saleEvery = 0.0
    /// Visitors at once, in all queues.
    public var crowdLimit = 400

    // How visitors are.
    public var polling = 0.3
    public var named = 0.3
    public var flapEvery = 0.0
    public var sleeping = 0.0
    public var leaving = 0.0
    /// How many close the page when the connection is lost.
    public var givingUp = 0.0
    public var noShow = 0.0
    public var withReceipt = 0.3
    /// Mean seconds from admission to completion.
    public var stay = 60.0
    /// Mean seconds between an operator's commands in a queue.
    public var operateEvery = 0.0
    /// Mean seconds between two strangers who try what is not theirs.
    public var intrudeEvery = 0.0
    /// Mean seconds between a reader's pages; 0: nobody reads.
    public var readEvery = 0.0

    /// How many of those who are connected have their display watched.
    public var watching = 0.0

    // Where it has months.
    /// Queues that are busy for a while on one day, at most.
    public var busyTimes = 0
    /// The share of days with faults.
    public var stormyDays = 0.0
    /// The share of the other days on which all processes are replaced.
    public var deployments = 0.0

    init(_ kind: Kind, _ dice: inout Dice) {
        instances = dice.chance(0.25) ? 1 : dice.int(2...4)
        tenants = dice.int(1...3)
        queues = dice.int(1...6)
        restingQueues = dice.chance(0.5) ? dice.int(1...20) : 0
        lease = .seconds(dice.chance(0.7) ? 10 : dice.int(2...60))
        restAfter = .seconds(dice.chance(0.5) ? 120 : dice.int(5...600))
        retention.log = dice.chance(0.4) ? .seconds(dice.int(4_000...20_000)) : nil
        retention.sessions = dice.chance(0.7) ? .seconds(dice.int(4_000...20_000)) : nil
        retention.receipts = dice.chance(0.7) ? .seconds(dice.int(600...20_000)) : nil
        retention.announcements = dice.chance(0.7) ? .seconds(dice.int(600...20_000)) : nil
        retention.consumers = dice.chance(0.7) ? .seconds(dice.int(600...20_000)) : nil
        // A receipt may outlive what it tells of.
        if dice.chance(0.2) { (retention.log, retention.announcements, retention.receipts) = (.seconds(4_000), .seconds(600), nil) }
        cacheCapacity = dice.chance(0.5) ? 5_000 : dice.int(10...2_000)
        reserves = dice.chance(0.7)
        clockError = dice.chance(0.5) ? 0 : dice.logarithmic(0.01...30)
        arrivalEvery = dice.logarithmic(0.5...120)
        saleEvery = dice.chance(0.5) ? dice.logarithmic(100...4_000) : 0
        crowdLimit = dice.chance(0.3) ? 1_500 : 300
        polling = dice.weight() / 2
        named = dice.weight() / 2
        flapEvery = dice.chance(0.6) ? dice.logarithmic(10...2_000) : 0
        sleeping = dice.weight() / 8
        leaving = dice.weight() / 4
        noShow = dice.weight() / 4
        withReceipt = dice.weight() / 2
        stay = dice.logarithmic(1...600)
        operateEvery = dice.chance(0.6) ? dice.logarithmic(30...3_000) : 0
        readEvery = dice.chance(0.6) ? dice.logarithmic(0.5...600) : 0
        intrudeEvery = dice.chance(0.7) ? dice.logarithmic(100...2_000) : 0
        givingUp = dice.weight() / 8
        hasBus = dice.chance(0.8)
        if dice.chance(0.25) { makeBusy(&dice) } else if dice.chance(0.5) { makeSmall(&dice) }
        watching = dice.chance(0.3) ? dice.unit() : 0
        if kind == .months { liveForMonths(&dice) }
    }

    /// Few people: a world that takes little time, so that more of what can come together does.
    private mutating func makeSmall(_ dice: inout Dice) {
        (restingQueues, saleEvery) = (min(3, restingQueues), 0)
        crowdLimit = dice.int(5...60)
        arrivalEvery = max(3, arrivalEvery)
    }

    private mutating func makeBusy(_ dice: inout Dice) {
        (isBusy, days) = (true, 1)
        queues = dice.int(1...2)
        saleEvery = dice.logarithmic(60...600)
        crowdLimit = 1_500
        stay = dice.logarithmic(0.5...10)
        sleeping = 0.4 * dice.unit()
        flapEvery = dice.logarithmic(30...600)
        operateEvery = dice.chance(0.5) ? dice.logarithmic(500...5_000) : 0
    }
}
