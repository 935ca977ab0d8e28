import Glibc
import Testing

@testable import EventLoop

/// Both bounds hold on a busy machine: they are the thread's own processor time.
@Suite struct StopwatchTests {
    private func work(nanoseconds: UInt64) {
        let end = EventLoop.threadTime() + nanoseconds
        while EventLoop.threadTime() < end {}
    }

    @Test func timeWithoutTheProcessorIsNotMeasured() {
        var stopwatch = Stopwatch()
        stopwatch.start()
        usleep(200_000)
        #expect(stopwatch.lap() < 100_000_000)
    }

    @Test func workIsMeasuredHoweverManyPiecesCameBefore() {
        var stopwatch = Stopwatch()
        stopwatch.start()
        for _ in 0..<1_000 { _ = stopwatch.lap() }
        let before = EventLoop.threadTime()
        work(nanoseconds: 5_000_000)
        let measured = stopwatch.lap()
        // What the pieces before took on the wall may be taken from it.
        #expect(measured >= 4_000_000 && measured <= EventLoop.threadTime() - before + 1_000_000)
    }
}
