import EventLoop
import HTTPTypes

/// Somebody who is there for a while.
protocol Visitor: AnyObject {
    /// Whether the place in line is theirs: not before the server has said so.
    var hasPlace: Bool { get }
    /// Is gone without a word, as the test ends.
    func vanish()
}

/// Holds a WebSocket in line. Some lose it on the way and come back into their place.
final class LiveVisitor: Visitor {
    private enum Stage { case entering, here, away, gone }

    private let test: LoadTest
    private let source: SocketAddress
    private let gone: () -> Void
    private var stage = Stage.entering
    private var client: LineClient?
    private var token = ""
    var hasPlace: Bool { !token.isEmpty && stage != .gone }

    /// - Parameter number: whence it comes: a source address has ports for so many.
    init(_ test: LoadTest, _ number: Int, _ planned: UInt64, _ gone: @escaping () -> Void) {
        self.test = test
        self.gone = gone
        source = SocketAddress("127.0.0.\(2 + number % 50):0")!
        connect(#"{"type":"join","queue":"\#(test.queue)","displayName":"somebody"}"#, as: .liveJoin, planned)
    }

    private func connect(_ first: String, as operation: Tally.Operation, _ planned: UInt64) {
        stage = .entering
        do throws(SystemError) {
            client = try LineClient(loop: test.loop, to: test.address, from: test.hasManySources ? source : nil, first: first) {
                [weak self] client, event, payload in
                self?.take(event, payload.withUnsafeBytes { Array($0) }, operation, planned)
            }
        } catch {
            fail(operation, "connect")
        }
    }

    private func take(_ event: LineClient.Event, _ payload: [UInt8], _ operation: Tally.Operation, _ planned: UInt64) {
        switch event {
        case .joined:
            guard stage == .entering else { return }
            stage = .here
            test.tally.note(operation, nanoseconds: EventLoop.monotonicNow() - planned)
            token = JSONText.string("token", in: payload) ?? token
            if operation == .liveJoin { planTheRest() }
        case .position: test.noteFrame()
        case .admitted:
            test.noteAdmission()
            leave()
        case .ended: leave()
        case .closed(let code):
            switch stage {
            case .entering: fail(operation, code.map { "closed with \($0)" } ?? "closed")
            case .here: fail(operation, "lost: \(code.map(String.init) ?? "no close frame")")
            case .away, .gone: break
            }
        }
    }

    private func planTheRest() {
        let stay = test.staySeconds()
        after(stay) { $0.leave() }
        guard Double.random(in: 0..<100) < test.scenario.sleepingPercent else { return }
        let sleeps = stay * Double.random(in: 0.2..<0.8)
        let wakes = sleeps + min(10, (stay - sleeps) * Double.random(in: 0.1..<0.9))
        after(sleeps) { $0.sleep() }
        after(wakes) { $0.wake() }
    }

    private func after(_ seconds: Double, _ action: @escaping (LiveVisitor) -> Void) {
        test.loop.schedule(after: UInt64(min(seconds, 86_400) * 1e9)) { [weak self] in if let self { action(self) } }
    }

    /// The phone is put away, for a moment.
    private func sleep() {
        guard stage == .here else { return }
        stage = .away
        client?.abort()
    }

    private func wake() {
        guard stage == .away else { return }
        connect(#"{"type":"resume","token":"\#(token)"}"#, as: .resume, EventLoop.monotonicNow())
    }

    private func leave() {
        guard stage != .gone else { return }
        if stage == .here { client?.send(#"{"type":"leave"}"#) }
        stage = .gone
        client?.close()
        gone()
    }

    private func fail(_ operation: Tally.Operation, _ reason: String) {
        test.tally.fail(operation, reason)
        stage = .gone
        gone()
    }

    func vanish() {
        stage = .gone
        client?.abort()
    }
}

/// Has no WebSocket: joins, asks for the position again and again, and leaves.
final class PollingVisitor: Visitor {
    private let test: LoadTest
    private let gone: () -> Void
    private var token = ""
    private var isGone = false
    var hasPlace: Bool { !token.isEmpty && !isGone }
    private var end: UInt64 = 0

    init(_ test: LoadTest, _ planned: UInt64, _ gone: @escaping () -> Void) {
        self.test = test
        self.gone = gone
        end = planned + UInt64(test.staySeconds() * 1e9)
        test.request(.join, .post, "/v1/queues/\(test.queue)/join", body: #"{"displayName":"somebody"}"#, at: planned) {
            [weak self] answer in
            guard let self else { return }
            guard let token = answer.flatMap({ JSONText.string("token", in: $0) }) else { return vanishFromTest() }
            self.token = token
            plan(planned)
        }
    }

    /// The next poll is planned from the last one's moment, however long its answer took.
    private func plan(_ last: UInt64) {
        let next = last + UInt64(test.scenario.pollSeconds * 1e9)
        test.loop.schedule(at: next) { [weak self] in
            guard let self, !isGone else { return }
            guard next < end else { return leave(next) }
            test.request(.position, .get, "/v1/queues/\(test.queue)/position", token: token, at: next) { [weak self] answer in
                guard let self else { return }
                guard let answer else { return vanishFromTest() }
                if JSONText.string("status", in: answer) == "admitted" {
                    test.noteAdmission()
                    return leave(EventLoop.monotonicNow())
                }
                plan(next)
            }
        }
    }

    private func leave(_ planned: UInt64) {
        let path = "/v1/queues/\(test.queue)/leave"
        test.request(.leave, .post, path, token: token, body: "{}", at: planned) { _ in }
        vanishFromTest()
    }

    private func vanishFromTest() {
        isGone = true
        gone()
    }

    func vanish() { isGone = true }
}
