import Testing

@testable import Server

@Suite struct SweepingTests {
    @Test(arguments: [(0, 1_000), (949, 51), (950, 0), (1_000, 0), (5_000, 0)] as [(UInt32, UInt32)])
    func theNearestSweepIsTheOne(passed: UInt32, rest: UInt32) {
        #expect(Sweeping.rest(of: 1_000, passed: passed) == rest)
    }

    /// Who was told between the beginning of a sweep and its own turn in it: milliseconds wrap.
    @Test func whoWasToldSinceItBeganIsNotKeptWaiting() {
        #expect(Sweeping.rest(of: 1_000, passed: 0 &- 5) == 0)
    }
}
