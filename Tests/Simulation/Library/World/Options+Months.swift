import QueueEngine
import QueueService

extension Options {
    /// What kind of life a world has.
    public enum Kind: String, Sendable, CaseIterable {
        /// Two crowded days with a storm.
        case storm
        /// Two months or three of a deployment with many queues, most of which are at rest most of the time.
        case months
    }

    static let daysOfMonth = 30

    /// Every sixteenth seed has months: they take as long as the others together.
    public static func kind(of seed: UInt64) -> Kind { seed % 16 == 7 ? .months : .storm }

    /// Many queues and few visitors; retention as it is by default, or shorter.
    mutating func liveForMonths(_ dice: inout Dice) {
        (kind, isBusy) = (.months, false)
        days = Options.daysOfMonth * dice.int(2...3)
        instances = dice.int(2...3)
        tenants = dice.int(2...12)
        (queues, restingQueues) = (dice.int(50...300), 0)
        lease = .seconds(dice.chance(0.1) ? 10 : Int(dice.logarithmic(30...300)))
        keepForMonths(&dice)
        (hasBus, intrudeEvery) = (true, 0)
        busyTimes = dice.int(2...10)
        stormyDays = dice.chance(0.7) ? dice.logarithmic(0.03...0.3) : 0
        deployments = dice.logarithmic(0.02...0.3)
        arrivalEvery = dice.logarithmic(5...60)
        saleEvery = dice.chance(0.3) ? dice.logarithmic(1_000...10_000) : 0
        crowdLimit = 200
        flapEvery = flapEvery > 0 ? max(60, flapEvery) : 0
        operateEvery = operateEvery > 0 ? max(300, operateEvery) : 0
        readEvery = readEvery > 0 ? max(20, readEvery) : 0
        watching /= 4
    }

    private mutating func keepForMonths(_ dice: inout Dice) {
        func days(_ usual: Int?, _ range: ClosedRange<Int>) -> Timestamp.Span? {
            (dice.chance(0.5) ? usual : dice.int(range)).map { .seconds(86_400 * $0) }
        }
        retention.sessions = days(30, 1...20)
        retention.receipts = days(1, 1...3)
        retention.announcements = days(30, 1...20)
        retention.consumers = days(30, 1...20)
        retention.log = days(nil, 1...20)
        retention.deletedQueues = days(30, 1...10)
    }
}
