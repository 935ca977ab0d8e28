/// How many should come a second so that as many people are there as the scenario says, for whatever reason they leave: of
/// their own accord, because they are admitted, or because something failed.
struct PeopleControl {
    /// A difference is made up for within about so many seconds: long enough that chance is not chased.
    static let correctionSeconds = 2.0
    /// Weight of the last second in the mean of how many leave.
    private static let weight = 0.2

    private let scenario: Scenario
    /// The mean of how many leave a second.
    private var leaving = 0.0

    init(_ scenario: Scenario) { self.scenario = scenario }

    /// A second in which so many left has ended.
    mutating func endSecond(left: Int) { leaving += (Double(left) - leaving) * PeopleControl.weight }

    /// How many should be there.
    func wanted(at seconds: Double) -> Double {
        seconds < scenario.rampSeconds ? scenario.users * seconds / scenario.rampSeconds : scenario.users
    }

    /// - Parameter present: how many are there, those among them who are still on their way in.
    func arrivalsPerSecond(at seconds: Double, present: Int) -> Double {
        let growing = seconds < scenario.rampSeconds ? scenario.users / scenario.rampSeconds : 0
        let missing = wanted(at: seconds) - Double(present)
        return min(max(0, growing + leaving + missing / PeopleControl.correctionSeconds), most(at: seconds))
    }

    /// A server that refuses everybody must not be asked without end.
    private func most(at seconds: Double) -> Double {
        let filling = seconds < scenario.heldFrom ? max(scenario.rampSeconds, 0.2) : 30
        return 2 * (scenario.leavingPerSecond + scenario.users / filling) + 5
    }
}

extension Scenario {
    /// From which second on all people should be there: a little after the ramp, for the last of them to have come in.
    var heldFrom: Double { rampSeconds + min(5, (durationSeconds - rampSeconds) / 4).rounded(.up) }
    /// How many leave a second, at most: those whose stay is over, and those who are admitted.
    var leavingPerSecond: Double { users / staySeconds + releasesPerMinute / 60 }
    /// How far their number may be from `users`, of a hundred: 2, or four standard deviations and one person where few people come
    /// and go so fast that chance is more.
    ///
    /// Nobody is sent away: those whom chance brought too many in the ramp stay until they leave of their own accord.
    var limitHeldPercent: Double {
        let arrivingInRamp = rampSeconds > 0 ? users / rampSeconds : 0
        let variance = max(leavingPerSecond, arrivingInRamp / 2) * PeopleControl.correctionSeconds
        return max(2, 100 * (1 + 4 * variance.squareRoot()) / users)
    }
}

/// How many people there were, second by second.
struct HeldPeople {
    private var (count, sum) = (0, 0)
    private var (minimum, maximum) = (Int.max, 0)

    mutating func note(_ users: Int) {
        (count, sum) = (count + 1, sum + users)
        (minimum, maximum) = (min(minimum, users), max(maximum, users))
    }

    var result: LoadReport.Held? {
        count > 0 ? .init(minimum: Double(minimum), mean: Double(sum) / Double(count), maximum: Double(maximum)) : nil
    }
}
