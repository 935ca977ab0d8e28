import QueueEngine
import QueueService

/// A queue as its operator and its crowd know it.
final class SimulatedQueue: @unchecked Sendable {
    let id: QueueID
    let tenant: TenantID
    var visitors: [Int: SimulatedVisitor] = [:]
    /// Somebody is deleting it, or has.
    var isDeleted = false
    /// When that was done.
    var deletedAt: Timestamp?
    /// What was left of it has been looked for.
    var isChecked = false
    /// Lanes that somebody may ask for; one that there is not among them.
    var lanes: [String]
    /// What was announced with a key, and as which event: who repeats it is told the same.
    var announced: [(key: String, seq: UInt64, at: Timestamp)] = []

    init(_ record: QueueRecord) {
        id = record.id
        tenant = record.tenant
        lanes = record.configuration.priorityLanes.map(\.name)
    }
}

extension QueueConfiguration {
    /// Sensible and foolish settings, in lengths that a simulation can wait for.
    ///
    /// - Parameter isBusy: many are let in at a time, so that lanes compete.
    static func random(_ dice: inout Dice, lanes: [PriorityLane] = [], isBusy: Bool, now: Timestamp) -> QueueConfiguration {
        var new = QueueConfiguration()
        new.priorityLanes = lanes
        if isBusy {
            new.maxConcurrentUsers = dice.int(100...1_000)
            new.releaseRatePerMinute = dice.int(100...2_000)
            new.graceSeconds = dice.int(60...900)
            new.admissionTTLSeconds = dice.int(10...300)
            return new
        }
        new.maxConcurrentUsers = Int(dice.logarithmic(1...300))
        new.releaseRatePerMinute = dice.chance(0.05) ? 0 : Int(dice.logarithmic(1...1_200))
        new.graceSeconds = Int(dice.logarithmic(1...900))
        new.admissionTTLSeconds = Int(dice.logarithmic(1...1_200))
        new.maxWaiting = dice.chance(0.15) ? dice.int(0...40) : nil
        if dice.chance(0.05) { new.opensAt = now + dice.time(0...900) }
        if dice.chance(0.1) { new.closesAt = now + .seconds(Int(dice.logarithmic(1...2_000_000))) }
        return new
    }

    /// Some open and close some time in the next weeks.
    mutating func schedule(_ dice: inout Dice, now: Timestamp) {
        if dice.chance(0.3) { opensAt = now + dice.time(0...1_800_000) }
        if dice.chance(0.2) { closesAt = max(opensAt ?? now, now) + dice.time(3_600...900_000) }
    }

    /// Strict lanes become shared ones and the other way round, as when too many wait in one of them.
    static func sharedOtherwise(_ before: [PriorityLane], _ dice: inout Dice) -> [PriorityLane] {
        var (lanes, left) = (before, 95)
        for index in lanes.indices {
            lanes[index].sharePercent = lanes[index].sharePercent < 100 || left < 2 ? 100 : dice.int(1...left)
            if lanes[index].sharePercent < 100 { left -= lanes[index].sharePercent }
        }
        return lanes
    }

    /// A lane more, or other shares: what the API lets an operator do with lanes.
    static func lanes(_ before: [PriorityLane], _ dice: inout Dice) -> [PriorityLane] {
        var lanes = before
        if lanes.count < 3, dice.chance(0.5) { lanes.append(PriorityLane(name: "lane\(lanes.count + 1)", sharePercent: 100)) }
        var left = 95
        for index in lanes.indices {
            let share = dice.chance(0.2) || left < 2 ? 100 : dice.int(1...left)
            lanes[index].sharePercent = share
            if share < 100 { left -= share }
        }
        return lanes
    }
}
