import Testing

@testable import Telemetry

/// How much of a pool was in use in its busiest quarter of a second.
@Suite struct UtilizationTests {
    private func milliseconds(_ count: UInt64) -> UInt64 { 1_000_000_000 + count * 1_000_000 }

    /// Wherever the windows lie.
    @Test(arguments: stride(from: UInt64(0), to: 500, by: 37).map { $0 }) func exhaustionOfASecondShows(_ start: UInt64) {
        var use = Utilization()
        use.change(to: 4, at: milliseconds(start))
        use.change(to: 0, at: milliseconds(start + 1_200))
        #expect(use.takePeak(at: milliseconds(10_000)) == 4)
        #expect(use.takePeak(at: milliseconds(20_000)) == 0, "it is over")
    }

    @Test func burstOfAMillisecondHardlyShows() {
        var use = Utilization()
        use.change(to: 4, at: milliseconds(100))
        use.change(to: 0, at: milliseconds(101))
        let peak = use.takePeak(at: milliseconds(10_000))
        #expect(peak > 0 && peak < 0.05)
    }

    @Test func steadyUseIsWhatItIs() {
        var use = Utilization()
        use.change(to: 2, at: milliseconds(0))
        _ = use.takePeak(at: milliseconds(1_000))
        #expect(use.takePeak(at: milliseconds(11_000)) == 2)
        // Half of the time.
        for step in UInt64(0)..<500 { use.change(to: step % 2 == 0 ? 2 : 0, at: milliseconds(11_000 + 10 * step)) }
        _ = use.takePeak(at: milliseconds(11_600))
        use = Utilization()
        for step in UInt64(0)..<500 { use.change(to: step % 2 == 0 ? 2 : 0, at: milliseconds(10 * step)) }
        #expect(abs(use.takePeak(at: milliseconds(5_000)) - 1) < 0.1)
    }
}
