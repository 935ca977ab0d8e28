import EventLoop
import QueueEngine
import Testing

@testable import Server

@Suite struct SteadyTimeTests {
    static let second: Int64 = 1_000_000

    /// Lets time pass in small steps while the clock is `ahead` of it, and returns how far queues' time went.
    static func pass(_ time: inout SteadyTime, _ clock: inout (wall: Int64, elapsed: Int64), seconds: Int) -> Int64 {
        let before = time.now(wall: clock.wall, elapsed: clock.elapsed)
        for _ in 0..<seconds * 100 {
            clock.wall += second / 100
            clock.elapsed += second / 100
            _ = time.now(wall: clock.wall, elapsed: clock.elapsed)
        }
        return time.now(wall: clock.wall, elapsed: clock.elapsed) - before
    }

    @Test func aJumpThereAndBackMovesNothing() {
        var clock = (wall: Int64(1_000_000) * SteadyTimeTests.second, elapsed: Int64(5))
        var time = SteadyTime(wall: clock.wall, elapsed: clock.elapsed)
        clock.wall += 3_600 * SteadyTimeTests.second
        let value1 = SteadyTimeTests.pass(&time, &clock, seconds: 9)
        #expect(value1 == 9 * SteadyTimeTests.second)
        clock.wall -= 3_600 * SteadyTimeTests.second
        let value2 = SteadyTimeTests.pass(&time, &clock, seconds: 100)
        #expect(value2 == 100 * SteadyTimeTests.second)
    }

    @Test func aClockThatStaysAheadIsBelieved() {
        var clock = (wall: Int64(1_000_000) * SteadyTimeTests.second, elapsed: Int64(5))
        var time = SteadyTime(wall: clock.wall, elapsed: clock.elapsed)
        clock.wall += 3_600 * SteadyTimeTests.second
        let value3 = SteadyTimeTests.pass(&time, &clock, seconds: 20)
        #expect(value3 == 3_620 * SteadyTimeTests.second)
        let value4 = time.now(wall: clock.wall, elapsed: clock.elapsed)
        #expect(value4 == clock.wall)
    }

    @Test func aClockThatIsSetBackIsWaitedForWhileTimeGoesOn() {
        var clock = (wall: Int64(1_000_000) * SteadyTimeTests.second, elapsed: Int64(5))
        var time = SteadyTime(wall: clock.wall, elapsed: clock.elapsed)
        clock.wall -= 10 * SteadyTimeTests.second
        let value5 = SteadyTimeTests.pass(&time, &clock, seconds: 50)
        #expect(value5 == 45 * SteadyTimeTests.second)
        _ = SteadyTimeTests.pass(&time, &clock, seconds: 60)
        let value6 = time.now(wall: clock.wall, elapsed: clock.elapsed)
        #expect(value6 == clock.wall)
        // Asked all the time it moves all the same.
        clock.wall -= 3_600 * SteadyTimeTests.second
        let before = time.now(wall: clock.wall, elapsed: clock.elapsed)
        for _ in 0..<1_000_000 {
            clock.wall += 1
            clock.elapsed += 1
            _ = time.now(wall: clock.wall, elapsed: clock.elapsed)
        }
        let value7 = time.now(wall: clock.wall, elapsed: clock.elapsed) - before
        #expect(value7 > 450_000)
    }

    @Test func aLogThatIsFurtherOnIsCaughtUpWith() {
        var clock = (wall: Int64(1_000_000) * SteadyTimeTests.second, elapsed: Int64(5))
        var time = SteadyTime(wall: clock.wall, elapsed: clock.elapsed)
        time.observe(clock.wall + 1_000 * SteadyTimeTests.second)
        let value8 = SteadyTimeTests.pass(&time, &clock, seconds: 10)
        #expect(value8 == 9 * SteadyTimeTests.second)
    }

    /// An instance whose first question to the store took long does not begin ahead of it: its events would pull all others along.
    @Test func clockOfASlowStartIsNotAheadOfTheStore() throws {
        let group = try EventLoopGroup(count: 1)
        defer { group.stop() }
        let clock = SystemClock(loop: group.loops[0])
        // Answered at the last moment of twelve seconds.
        let store = Timestamp(seconds: 1_700_000_000)
        clock.calibrate(store, roundTrip: .seconds(12))
        let ahead = clock.now() - store
        #expect(ahead.seconds < 5, "\(ahead.seconds) s")
    }
}
