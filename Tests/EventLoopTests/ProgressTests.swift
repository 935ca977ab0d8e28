import Synchronization
import TestSupport
import Testing

@testable import EventLoop

@Suite struct ProgressTests {
    /// A peer must take all that waited, or 256 bytes for each second; what it has acknowledged is counted modulo 2³².
    @Test(arguments: [
        (waiting: 100, taken: 99, seconds: 60, isEnough: false), (100, 100, 60, true), (100_000, 60 * 256 - 1, 60, false),
        (100_000, 60 * 256, 60, true), (100_000, 0, 0, true), (1, 0, 1, false),
    ]) func aPeerMustTakeWhatWaits(waiting: Int32, taken: UInt32, seconds: UInt32, isEnough: Bool) {
        for acknowledged in [0, 7, .max - 50] as [UInt32] {
            let finding = ProgressWatch.Finding(second: 1_000, acknowledged: acknowledged, waiting: waiting)
            #expect(finding.isMet(by: acknowledged &+ taken, at: 1_000 + seconds) == isEnough)
        }
    }

    /// The first check comes soon, and the next one when all of the peer's time is over.
    @Test func checksComeWhenTheyAreDue() {
        var watch = ProgressWatch()
        watch.add(1, at: 100, stallSeconds: 55)
        watch.add(2, at: 101, stallSeconds: 55)
        #expect(watch.next(at: 104) == nil)
        #expect(watch.next(at: 105)?.tag == 1)
        #expect(watch.next(at: 105) == nil)
        watch.add(1, ProgressWatch.Finding(second: 105, acknowledged: 0, waiting: 1), stallSeconds: 55)
        #expect(watch.next(at: 160)?.tag == 2)
        #expect(watch.next(at: 160) == nil)
        let last = watch.next(at: 161)
        #expect(last?.tag == 1 && last?.finding?.second == 105)
        watch.add(1, at: 200, stallSeconds: 1)
        #expect(watch.next(at: 201)?.tag == 1)
    }

    @Test func checksOfConnectionsThatAreGoneAreForgotten() {
        var watch = ProgressWatch()
        for tag in 0..<10_000 as Range<UInt64> { watch.add(tag, at: 1, stallSeconds: 55) }
        #expect(watch.mayBeStale(100) && !watch.mayBeStale(10_000))
        watch.remove { $0 % 100 != 0 }
        var left: [UInt64] = []
        while let check = watch.next(at: 60) { left.append(check.tag) }
        #expect(left == Array(stride(from: 0, to: 10_000, by: 100)))
    }

    /// A peer that has paused and reads again is kept; one that has taken nothing since the check before is given up.
    @Test(.timeLimit(.minutes(5))) func aPeerThatTakesNothingIsGivenUp() async throws {
        let (ends, accepted) = (Ends(), Accepted())
        let (group, address) = try EventLoopTests.serve { connection in
            accepted.connection.withLock { $0 = LoopBound(connection, to: connection.loop) }
            return Answering { ends.add($0) }
        }
        let loop = group.loops[0]
        let client = RawClient(address, window: 2_048)
        func onLoop<T: Sendable>(_ body: @escaping @Sendable (Connection) -> T) async -> T? {
            guard let connection = accepted.connection.withLock({ $0 }) else { return nil }
            return await Task(executorPreference: loop) { body(connection.onLoop) }.value
        }
        // More than the peer's kernel takes.
        #expect(
            await eventually {
                client.send("x")
                return await onLoop { Socket.unacknowledged($0.number) } ?? 0 > 8_000
            })
        let finding = try #require(await onLoop { $0.checkProgress(since: nil, at: 100) } ?? nil)
        #expect(finding.second == 100 && finding.waiting > 8_000)
        let before = finding.acknowledged
        // One read may take too little for the kernel to open its window.
        var taken = 0
        while taken < 8_192 {
            let count = client.read(4_096)
            try #require(count > 0)
            taken += count
        }
        #expect(
            await eventually {
                await onLoop {
                    UInt64(UInt32(truncatingIfNeeded: Socket.acknowledged($0.number)) &- before) >= Connection.leastBytesPerSecond
                }
                    ?? false
            })
        let next = try #require(await onLoop { $0.checkProgress(since: finding, at: 101) } ?? nil)
        #expect(next.second == 101 && ends.all.isEmpty)
        #expect(await onLoop { $0.checkProgress(since: next, at: 1_000_000) } == .some(nil))
        #expect(ends.all == ["given up", "closed"])
        client.close()
        group.stop()
    }

    private final class Accepted: Sendable {
        let connection = Mutex<LoopBound<Connection>?>(nil)
    }

    private final class Ends: Sendable {
        private let ends = Mutex<[String]>([])
        var all: [String] { ends.withLock { $0 } }
        func add(_ end: String) { ends.withLock { $0.append(end) } }
    }
}
