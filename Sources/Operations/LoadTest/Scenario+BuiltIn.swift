/// The scenarios that the program knows by name. Config/scenarios has the same as files, to be copied and changed.
extension Scenario {
    public static let builtIn = [normal, peak, stress]

    /// A day like any other: 1,000 people for half an hour.
    static let normal = make(
        "normal", users: 1_000, ramp: 300, duration: 1_800, releases: 200, reads: 20, creates: 0.5, limit: 1, errors: 0.1)
    /// A sale begins: 5,000 people within two minutes, for a quarter of an hour.
    static let peak = make("peak", users: 5_000, ramp: 120, duration: 900, releases: 1_000, reads: 100, creates: 1, limit: 2, errors: 0.5)
    /// More than was planned for: 10,000 people within a minute, for ten minutes.
    static let stress = make("stress", users: 10_000, ramp: 60, duration: 600, releases: 2_000, reads: 200, creates: 2, limit: 5, errors: 2)

    private static func make(
        _ name: String, users: Double, ramp: Double, duration: Double, releases: Double, reads: Double, creates: Double, limit: Double,
        errors: Double
    ) -> Scenario {
        var scenario = Scenario(name: name)
        (scenario.users, scenario.rampSeconds, scenario.durationSeconds) = (users, ramp, duration)
        (scenario.staySeconds, scenario.pollingPercent, scenario.pollSeconds, scenario.sleepingPercent) = (180, 20, 5, 20)
        (scenario.releasesPerMinute, scenario.readsPerSecond, scenario.createsPerSecond) = (releases, reads, creates)
        (scenario.announcementSeconds, scenario.limitSeconds, scenario.limitErrorPercent) = (60, limit, errors)
        return scenario
    }
}
