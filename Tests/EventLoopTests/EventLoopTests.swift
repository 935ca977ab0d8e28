import CLinux
import EventLoop
import Foundation
import Glibc
import Synchronization
import Testing

@Suite struct EventLoopTests {
    /// Starts a group with a listener whose connections are served by `handler`.
    static func serve(loops: Int = 1, _ handler: @escaping @Sendable (Connection) -> any ConnectionHandler) throws -> (
        EventLoopGroup, SocketAddress
    ) {
        let group = try EventLoopGroup(count: loops)
        let address = try group.listen(
            on: SocketAddress("127.0.0.1:0")!, report: { _ in }, started: { _, listener in _ = Unmanaged.passRetained(listener) }
        ) { loop, descriptor, _ in
            let connection = Connection(loop: loop, owning: descriptor)
            connection.handler = handler(connection)
            try! connection.start()
        }
        return (group, address)
    }

    @Test func timersRunInOrderAndCancelledOnesDoNot() async throws {
        let loop = try EventLoopGroup(count: 1).loops[0]
        let order = await withCheckedContinuation { done in
            loop.execute {
                var order: [Int] = []
                loop.schedule(after: 20_000_000) { order.append(2) }
                loop.schedule(after: 5_000_000) { order.append(1) }
                let cancelled = loop.schedule(after: 10_000_000) { order.append(9) }
                loop.cancel(cancelled)
                loop.schedule(after: 40_000_000) { done.resume(returning: order) }
            }
        }
        #expect(order == [1, 2])
        loop.stop()
    }

    @Test func anActorOnALoopStaysThere() async throws {
        actor Resident {
            let loop: EventLoop
            let executor: LoopSerialExecutor
            nonisolated var unownedExecutor: UnownedSerialExecutor { executor.asUnownedSerialExecutor() }
            init(_ loop: EventLoop) { (self.loop, executor) = (loop, LoopSerialExecutor(loop)) }
            func isHome() -> Bool { loop.isOnLoop }
        }
        let loop = try EventLoopGroup(count: 1).loops[0]
        #expect(await Resident(loop).isHome())
        let isOn = await Task(executorPreference: loop) { loop.isOnLoop }.value
        #expect(isOn)
        loop.stop()
    }

    @inline(never) private static func anyFunction() async {}

    @Test func aTaskOnItsLoopCallsFunctionsWithoutTakingTurns() async throws {
        let loop = try EventLoopGroup(count: 1).loops[0]
        let turns = await Task(executorPreference: loop) {
            let turns = Counter()
            loop.execute { turns.add() }
            await EventLoopTests.anyFunction()
            return turns.count
        }.value
        #expect(turns == 0)
        loop.stop()
    }

    /// Loops wake each other at the end of what they are doing: a wake-up that is owed must be paid before they wait.
    @Test(.timeLimit(.minutes(5))) func workThatLoopsBringEachOtherIsDone() async throws {
        let group = try EventLoopGroup(count: 3)
        @Sendable func pass(_ left: Int, _ done: CheckedContinuation<Void, Never>) {
            guard left > 0 else { return done.resume() }
            // From a job and from a timer, which comes later in a turn.
            group.loops[left % 3].execute {
                guard left.isMultiple(of: 5) else { return pass(left - 1, done) }
                group.loops[left % 3].schedule(after: 0) { pass(left - 1, done) }
            }
        }
        await withTaskGroup(of: Void.self) { tasks in
            for _ in 0..<20 { tasks.addTask { await withCheckedContinuation { pass(5_000, $0) } } }
        }
        group.stop()
    }

    /// A job that brings the next one for ever keeps no socket and no timer waiting.
    @Test(.timeLimit(.minutes(5))) func anEndlessChainOfJobsLeavesTurnsToOthers() async throws {
        let (group, address) = try EventLoopTests.serve { _ in Greeting() }
        let loop = group.loops[0]
        let isOver = Atomic(false)
        @Sendable func again() { if !isOver.load(ordering: .relaxed) { loop.execute(again) } }
        again()
        let client = RawClient(address)
        client.send("go")
        #expect(client.readAll() == "hello")
        client.close()
        await withCheckedContinuation { done in
            loop.execute { loop.schedule(after: 1_000_000) { done.resume() } }
        }
        isOver.store(true, ordering: .relaxed)
        group.stop()
    }

    /// A hundred connections of one account have something to say, and each of them keeps the loop for long: other accounts' are not
    /// behind all of them. There are two others, should one have the loud one's row.
    @Test(.timeLimit(.minutes(5))) func aLoudAccountWaitsForItself() async throws {
        let accepted = Atomic(0)
        let isReleased = Atomic(false)
        let (order, told) = AsyncStream.makeStream(of: UInt64.self)
        let (group, address) = try EventLoopTests.serve { connection in
            connection.tag = UInt64(min(accepted.wrappingAdd(1, ordering: .relaxed).newValue, 3))
            return Spinning { told.yield($0) }
        }
        let quiet = [RawClient(address), RawClient(address)]
        while accepted.load(ordering: .relaxed) < 2 { await Task.yield() }
        let loud = (0..<100).map { _ in RawClient(address) }
        while accepted.load(ordering: .relaxed) < 102 { await Task.yield() }
        // All of them are ready when the loop looks, the quiet ones last.
        group.loops[0].execute { while !isReleased.load(ordering: .relaxed) { usleep(1_000) } }
        for client in loud + quiet { client.send("x") }
        isReleased.store(true, ordering: .relaxed)
        var before = 0
        for await account in order.prefix(102) {
            if account != 3 { break }
            before += 1
        }
        #expect(before < 10)
        for client in loud + quiet { client.close() }
        group.stop()
    }

    /// What a connection brings the loop to do, by way of another loop, is charged to its account: a connection of another account is
    /// not behind a hundred of the loud one each time. There are two others, should one have the loud one's row.
    @Test(.timeLimit(.minutes(5))) func aLoudAccountPaysForTheJobsThatItBrings() async throws {
        let accepted = Atomic(0)
        let (order, told) = AsyncStream.makeStream(of: (account: UInt64, behind: Int).self)
        let (other, jobs) = (try EventLoopGroup(count: 1), Counter())
        let (group, address) = try EventLoopTests.serve { connection in
            connection.tag = UInt64(min(accepted.wrappingAdd(1, ordering: .relaxed).newValue, 3))
            return Bringing(by: other.loops[0], among: jobs) { told.yield(($0, $1)) }
        }
        let quiet = [RawClient(address), RawClient(address)]
        while accepted.load(ordering: .relaxed) < 2 { await Task.yield() }
        let loud = (0..<100).map { _ in RawClient(address) }
        while accepted.load(ordering: .relaxed) < 102 { await Task.yield() }
        for client in quiet + loud { client.send("x") }
        var behind: [UInt64: [Int]] = [:]
        for await job in order.prefix(3_000) { behind[job.account, default: []].append(job.behind) }
        let medians = [behind[1], behind[2]].compactMap { $0?.sorted() }.map { $0[$0.count / 2] }
        #expect(medians.contains { $0 < 15 }, "\(medians)")
        for client in loud + quiet { client.close() }
        group.stop()
        other.stop()
    }

    /// However fast connections come, the loop accepts few of them before it serves others.
    @Test(.timeLimit(.minutes(5))) func aFloodOfConnectionsLeavesTurnsToOthers() async throws {
        let count = Atomic(0)
        let turns = Mutex<[UInt64: Int]>([:])
        let (group, address) = try EventLoopTests.serve { connection in
            // More come meanwhile.
            usleep(200)
            turns.withLock { $0[connection.loop.now, default: 0] += 1 }
            count.wrappingAdd(1, ordering: .relaxed)
            return Greeting()
        }
        for _ in 0..<4 {
            let clients = (0..<200).map { _ in RawClient(address) }
            for client in clients { client.close() }
        }
        while count.load(ordering: .relaxed) < 800 { await Task.yield() }
        // Those that are reported, and at the end of the turn those that are left.
        let most = turns.withLock { $0.values.max()! }
        #expect(most <= 2 * 16)
        group.stop()
    }

    /// A connection that the kernel will not watch is closed like any other.
    @Test func whatCannotBeWatchedIsClosed() async throws {
        let group = try EventLoopGroup(count: 1)
        let loop = group.loops[0]
        let isClosed = Atomic(false)
        await withCheckedContinuation { done in
            loop.execute {
                // epoll takes no files (epoll_ctl(2), EPERM).
                let connection = Connection(loop: loop, owning: Descriptor(owning: open("/proc/self/stat", O_RDONLY)))
                connection.handler = Counting { isClosed.store(true, ordering: .relaxed) }
                connection.deadline = loop.second + 60
                #expect(throws: SystemError.self) { try connection.start() }
                connection.close()
                done.resume()
            }
        }
        let closed = isClosed.load(ordering: .relaxed)
        #expect(closed)
        group.stop()
    }

    /// Nobody has to wait in the kernel's list because others are ready, too.
    @Test func allReportsAreFetchedAtOnce() {
        let epoll = clinux_epoll_create()
        let descriptors = (0..<300).map { _ in clinux_eventfd() }
        defer { for descriptor in descriptors + [epoll] { close(descriptor) } }
        let tags = Set(descriptors.indices.map { UInt64($0) })
        for (tag, descriptor) in descriptors.enumerated() {
            #expect(clinux_epoll_add(epoll, descriptor, UInt32(CLINUX_OUT), UInt64(tag)) == 0)
        }
        var reports = [clinux_event](repeating: clinux_event(), count: 1_000)
        #expect(clinux_epoll_wait(epoll, &reports, 280, 0) == 280)
        let first = Set(reports[..<280].map(\.data))
        #expect(clinux_epoll_wait(epoll, &reports, 1_000, 0) == 20)
        #expect(first.union(reports[..<20].map(\.data)) == tags)
        #expect(clinux_epoll_wait(epoll, &reports, 1_000, 0) == 0)
    }

    @Test func descriptorsAreClosedExactlyOnce() async throws {
        let before = try FileManager.default.contentsOfDirectory(atPath: "/proc/self/fd").count
        let closed = Atomic<Int>(0)
        let (group, address) = try EventLoopTests.serve { _ in Counting { closed.wrappingAdd(1, ordering: .relaxed) } }
        for _ in 0..<2_000 {
            let client = RawClient(address)
            client.send("x")
            client.close()
        }
        for _ in 0..<2_000 where closed.load(ordering: .relaxed) < 2_000 { try await Task.sleep(for: .milliseconds(5)) }
        let count = closed.load(ordering: .relaxed)
        #expect(count == 2_000)
        // Tests beside this one open some of their own, and close them again.
        var after = before + 2_000
        for _ in 0..<6_000 where after - before >= 1_000 {
            after = try FileManager.default.contentsOfDirectory(atPath: "/proc/self/fd").count
            if after - before >= 1_000 { try await Task.sleep(for: .milliseconds(10)) }
        }
        #expect(after - before < 1_000)
        group.stop()
    }

    /// Of unsent positions only the newest is kept; ordered bytes are all kept, up to the limit.
    @Test func aSlowReaderGetsTheNewestPosition() async throws {
        let (group, address) = try EventLoopTests.serve { _ in Flooding() }
        let client = RawClient(address)
        client.send("go")
        try await Task.sleep(for: .milliseconds(100))
        let text = client.readAll()
        let marks = text.split(separator: "|").filter { $0.hasPrefix("P") }
        // Those before the socket was full went out; of the thousand behind, the last one only.
        #expect(marks.last == "P2000")
        #expect(marks.count < 1_500)
        #expect(text.contains("|END|"))
        group.stop()
    }

    /// More than its room, and one message that is larger than all of it.
    @Test func aBatchKeepsTheOrder() async throws {
        let texts = (1...300).map { number in "|\(number)" + String(repeating: ".", count: number == 200 ? 20_000 : 200) }
        let (group, address) = try EventLoopTests.serve { _ in
            Batching { batch, connection in
                for text in texts { Array(text.utf8).withUnsafeBytes { batch.append($0, to: connection) } }
                #expect(batch.send() == 0)
            }
        }
        let client = RawClient(address)
        client.send("go")
        #expect(client.readAll() == texts.joined())
        client.close()
        group.stop()
    }

    @Test func aBatchTellsWhatItReplaced() async throws {
        let (group, address) = try EventLoopTests.serve { _ in
            Batching { batch, connection in
                connection.outboxLimit = 64 << 20
                connection.send([UInt8](repeating: 0x2E, count: 16 << 20))
                for round in 0..<2 {
                    for number in 1...500 { Array("|P\(number)|".utf8).withUnsafeBytes { batch.append($0, to: connection) } }
                    #expect(batch.send() == (round == 0 ? 499 : 500))
                }
            }
        }
        let client = RawClient(address)
        client.send("go")
        #expect(client.readAll().drop { $0 == "." } == "|P500|")
        client.close()
        group.stop()
    }

    @Test func aPeerThatReadsNothingIsRefusedPastTheLimit() async throws {
        let refused = Atomic<Bool>(false)
        let (group, address) = try EventLoopTests.serve { connection in
            connection.outboxLimit = 1_000
            return Pushing { refused.store(true, ordering: .relaxed) }
        }
        let client = RawClient(address)
        client.send("go")
        for _ in 0..<1_000 where !refused.load(ordering: .relaxed) { try await Task.sleep(for: .milliseconds(5)) }
        let wasRefused = refused.load(ordering: .relaxed)
        #expect(wasRefused)
        client.close()
        group.stop()
    }

    /// The loop gives a connection up whose peer takes nothing of what the kernel has for it, though the peer goes on talking.
    @Test(.timeLimit(.minutes(5))) func aPeerThatTalksAndTakesNothingIsGivenUp() async throws {
        let ends = Mutex<[String]>([])
        let (group, address) = try EventLoopTests.serve { connection in
            connection.loop.stallSeconds = 1
            return Answering { end in ends.withLock { $0.append(end) } }
        }
        let client = RawClient(address, window: 2_048)
        while ends.withLock({ $0.count < 2 }) {
            client.send("x")
            try await Task.sleep(for: .milliseconds(100))
        }
        #expect(ends.withLock { $0 } == ["given up", "closed"])
        client.close()
        group.stop()
    }

    /// What waits when a connection closes is given as long as the peer takes it, and no longer.
    @Test(arguments: [true, false]) func closingWaitsForAPeerThatReads(reads: Bool) async throws {
        let size = 600_000
        let closed = Atomic<Int>(0)
        let (group, address) = try EventLoopTests.serve { connection in
            // A test that waits for its turn beside others reads nothing meanwhile.
            connection.loop.stallSeconds = reads ? 60 : 1
            connection.limitSendBuffer(4_096)
            return Ending(size) { closed.wrappingAdd(1, ordering: .relaxed) }
        }
        let client = RawClient(address, window: 4_096)
        client.send("go")
        if reads {
            // Longer than a peer's FIN is waited for.
            let began = ContinuousClock.now
            var count = 0
            while count < size, case let more = client.read(size / 100), more > 0 {
                count += more
                if ContinuousClock.now - began < .seconds(10) { try await Task.sleep(for: .milliseconds(100)) }
            }
            #expect(count == size)
        }
        for _ in 0..<30_000 where closed.load(ordering: .relaxed) == 0 {
            if reads, client.read(1) == 0 { client.close() }
            try await Task.sleep(for: .milliseconds(10))
        }
        let wasClosed = closed.load(ordering: .relaxed) == 1
        #expect(wasClosed)
        if !reads { client.close() }
        group.stop()
    }

    @Test func aPortInUseIsRefused() throws {
        let (group, address) = try EventLoopTests.serve { _ in Counting {} }
        let second = try EventLoopGroup(count: 1)
        #expect(throws: SystemError.self) {
            try second.listen(on: address, report: { _ in }, started: { _, _ in }) { _, descriptor, _ in _ = consume descriptor }
        }
        group.stop()
        second.stop()
    }

    @Test func addressesAreReadAndWritten() {
        #expect(SocketAddress("[::1]:80")?.description == "[::1]:80")
        #expect(SocketAddress("localhost:1")?.isLoopback == true)
        #expect(SocketAddress("*:1")?.description == "0.0.0.0:1")
        for wrong in ["", "1.2.3.4", "1.2.3.4:99999", "host:80", "::1:80", "[1.2.3.4]:80"] {
            #expect(SocketAddress(wrong) == nil, "\(wrong)")
        }
    }
}

private final class Counter: Sendable {
    private let atomic = Atomic<Int>(0)
    func add() { atomic.wrappingAdd(1, ordering: .relaxed) }
    var count: Int { atomic.load(ordering: .relaxed) }
}

private final class Greeting: ConnectionHandler {
    func connection(_ connection: Connection, received bytes: inout MutableRawSpan) {
        connection.send(Array("hello".utf8))
        connection.closeWhenSent()
    }
    func connectionTimedOut(_ connection: Connection) {}
}

/// Takes more than an account's part of a turn for whatever comes.
private final class Spinning: ConnectionHandler {
    private let served: (UInt64) -> Void
    init(_ served: @escaping @Sendable (UInt64) -> Void) { self.served = served }
    func connection(_ connection: Connection, received bytes: inout MutableRawSpan) {
        let began = EventLoop.monotonicNow()
        while EventLoop.monotonicNow() - began < 300_000 {}
        served(connection.tag)
    }
    func connectionTimedOut(_ connection: Connection) {}
}

/// Brings the loop a job, by way of another loop, and the next one when that is done and it is the connection's turn.
private final class Bringing: ConnectionHandler {
    private let other: EventLoop
    private let jobs: Counter
    private let done: @Sendable (_ account: UInt64, _ behind: Int) -> Void
    /// Jobs that were done when it began to wait for its turn.
    private var jobsBefore = 0

    /// - Parameter done: how many of all `jobs` were done while the connection waited for its turn and its job for the loop. How long
    ///   the other loop took is the machine's affair.
    init(by other: EventLoop, among jobs: Counter, _ done: @escaping @Sendable (_ account: UInt64, _ behind: Int) -> Void) {
        (self.other, self.jobs, self.done) = (other, jobs, done)
    }

    func connection(_ connection: Connection, received bytes: inout MutableRawSpan) {
        jobsBefore = jobs.count
        bring(connection)
    }

    func connectionHasTurn(_ connection: Connection) { bring(connection) }
    func connectionTimedOut(_ connection: Connection) {}

    private func bring(_ connection: Connection) {
        let (loop, jobs, done, bound) = (connection.loop, jobs, done, LoopBound((self, connection), to: connection.loop))
        let waited = jobs.count - jobsBefore
        Task(executorPreference: other) {
            let before = jobs.count
            Task(executorPreference: loop) {
                let (handler, connection) = bound.onLoop
                done(connection.tag, waited + jobs.count - before)
                let began = EventLoop.monotonicNow()
                while EventLoop.monotonicNow() - began < 300_000 {}
                jobs.add()
                handler.jobsBefore = jobs.count
                connection.waitForTurn()
            }
        }
    }
}

/// Answers whatever comes with a thousand bytes.
final class Answering: ConnectionHandler {
    private let ended: (String) -> Void
    init(_ ended: @escaping @Sendable (String) -> Void) { self.ended = ended }
    func connection(_ connection: Connection, received bytes: inout MutableRawSpan) {
        connection.send([UInt8](repeating: 0x2E, count: 1_000))
    }
    func connectionTimedOut(_ connection: Connection) {}
    func connectionGivenUp(_ connection: Connection) { ended("given up") }
    func connectionClosed(_ connection: Connection) { ended("closed") }
}

private final class Counting: ConnectionHandler {
    let closed: @Sendable () -> Void
    init(_ closed: @escaping @Sendable () -> Void) { self.closed = closed }
    func connection(_ connection: Connection, received bytes: inout MutableRawSpan) {}
    func connectionTimedOut(_ connection: Connection) {}
    func connectionClosed(_ connection: Connection) { closed() }
}

/// Fills the socket with ordered bytes, then says two thousand positions and a last ordered word.
private final class Flooding: ConnectionHandler {
    func connection(_ connection: Connection, received bytes: inout MutableRawSpan) {
        connection.outboxLimit = 64 << 20
        connection.send([UInt8](repeating: 0x2E, count: 16 << 20))
        for number in 1...2_000 { Array("|P\(number)|".utf8).withUnsafeBytes { _ = connection.sendReplaceable($0) } }
        connection.send(Array("|END|".utf8))
        connection.closeAfterDrain()
    }
    func connectionTimedOut(_ connection: Connection) {}
    func connectionDrained(_ connection: Connection) { connection.closeWhenSent() }
}

private final class Batching: ConnectionHandler {
    let fill: @Sendable (inout SendBatch, Connection) -> Void
    init(_ fill: @escaping @Sendable (inout SendBatch, Connection) -> Void) { self.fill = fill }
    func connection(_ connection: Connection, received bytes: inout MutableRawSpan) {
        var batch = SendBatch()
        fill(&batch, connection)
        connection.closeAfterDrain()
    }
    func connectionTimedOut(_ connection: Connection) {}
    func connectionDrained(_ connection: Connection) { connection.closeWhenSent() }
}

/// Says all it has to say at once, and closes.
private final class Ending: ConnectionHandler {
    private let size: Int
    private let closed: @Sendable () -> Void
    init(_ size: Int, _ closed: @escaping @Sendable () -> Void) { (self.size, self.closed) = (size, closed) }
    func connection(_ connection: Connection, received bytes: inout MutableRawSpan) {
        connection.outboxLimit = .max
        connection.send(shared: [UInt8](repeating: 0x2E, count: size))
        connection.closeWhenSent()
    }
    func connectionTimedOut(_ connection: Connection) {}
    func connectionClosed(_ connection: Connection) { closed() }
}

extension Connection {
    fileprivate func closeAfterDrain() { if unsentBytes == 0 { closeWhenSent() } }
}

private final class Pushing: ConnectionHandler {
    let refused: @Sendable () -> Void
    init(_ refused: @escaping @Sendable () -> Void) { self.refused = refused }
    func connection(_ connection: Connection, received bytes: inout MutableRawSpan) {
        for _ in 0..<100_000 where !connection.send([UInt8](repeating: 0x2E, count: 500)) {
            refused()
            return connection.close()
        }
    }
    func connectionTimedOut(_ connection: Connection) {}
}

/// A blocking client, as plain as can be.
final class RawClient {
    private var descriptor: Int32

    /// - Parameter window: bytes that the kernel takes before they are read; nil: as many as it likes.
    init(_ address: SocketAddress, window: Int32? = nil) {
        descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        if var window { setsockopt(descriptor, SOL_SOCKET, SO_RCVBUF, &window, socklen_t(MemoryLayout<Int32>.size)) }
        var system = sockaddr_in()
        system.sin_family = sa_family_t(AF_INET)
        system.sin_port = address.port.bigEndian
        system.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        let result = withUnsafePointer(to: &system) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size)) }
        }
        precondition(result == 0)
    }

    func send(_ text: String) { _ = Glibc.send(descriptor, text, text.utf8.count, Int32(MSG_NOSIGNAL)) }

    /// How many bytes came, at most `count`; 0: the end.
    func read(_ count: Int) -> Int {
        var buffer = [UInt8](repeating: 0, count: count)
        return recv(descriptor, &buffer, count, 0)
    }

    func readAll() -> String {
        var bytes: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 1 << 20)
        while case let count = recv(descriptor, &buffer, buffer.count, 0), count > 0 { bytes += buffer[..<count] }
        return String(decoding: bytes, as: UTF8.self)
    }

    func close() { _ = Glibc.close(descriptor) }
}
