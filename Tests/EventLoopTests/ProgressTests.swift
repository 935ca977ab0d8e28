import Synchronization
import TestSupport
import Testing

@testable import EventLoop

/// Whom a loop gives up, with looks whose seconds the test says.
@Suite struct ProgressTests {
    @Test(.timeLimit(.minutes(1))) func onlyAPeerThatTakesNothingForSoLongIsGivenUp() async throws {
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
        func look(_ last: ProgressWatch.Look, at second: UInt32) async -> ProgressWatch.Look? {
            await onLoop { $0.progress(since: last, at: second) } ?? nil
        }
        // More than the peer's kernel takes.
        #expect(
            await eventually {
                client.send("x")
                return await onLoop { Socket.unacknowledged($0.number) } ?? 0 > 20_000
            })
        let first = try #require(await look(ProgressWatch.Look(tag: 0, due: 0), at: 100))
        #expect((first.since, first.due) == (100, 105))
        let second = try #require(await look(first, at: 144))
        #expect((second.since, second.due) == (100, 149))

        let before = await onLoop { Socket.acknowledged($0.number) }
        #expect(client.read(4_096) > 0)
        #expect(await eventually { await onLoop { Socket.acknowledged($0.number) } != before })
        let third = try #require(await look(second, at: 160))
        #expect(third.since == 160)
        let fourth = try #require(await look(third, at: 209))
        #expect(fourth.since == 160 && ends.all.isEmpty)
        #expect(await look(fourth, at: 210) == nil)
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
