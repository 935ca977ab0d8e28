public import EventLoop
import HTTPTypes
import Synchronization

/// A crowd that behaves as a scenario says, on one loop, against a server over the network, and what it met with.
///
/// Everything is begun at a moment that was planned, and its time runs from that moment: a server that is slow, or a
/// client that cannot keep up, shows in the figures instead of slowing the questions down.
public final class LoadTest: @unchecked Sendable {
    // Unchecked: what changes is the loop's.
    let scenario: Scenario
    let address: SocketAddress
    private let adminKey: String
    private let group: EventLoopGroup
    let loop: EventLoop
    private let rest: RESTClient

    private(set) var queue = ""
    var tally = Tally()
    /// Those who are here, by a number of their own.
    private var visitors: [Int: any Visitor] = [:]
    private var newest = 0
    private var arrivals: [Arrivals] = []
    private var people: PeopleControl
    private var leftThisSecond = 0
    /// How many had a place at the end of each second in which all should be there.
    private var held = HeldPeople()
    private var followers: [Follower] = []
    private var brokenStreams = 0
    private var most = 0
    private var frames = 0
    private var admitted = 0
    private var began: UInt64 = 0
    /// What the server had used when everybody was there, and has used by now; the most memory that it had.
    private var use: (first: ServerUse, last: ServerUse, mostBytes: Double)?
    /// Queues that were asked for and are not deleted yet, the crowd's own among them: the end waits for each.
    private var queues = 0
    /// What was measured, from the end on.
    private var report: LoadReport?
    private var isOver: Bool { report != nil }
    private var progress: (LoadReport.Second) -> Void = { _ in }
    private var finished: CheckedContinuation<LoadReport, Never>?
    private let isInterrupted = Atomic<Bool>(false)

    /// - Parameters:
    ///   - address: where the server listens, without TLS.
    ///   - adminKey: one whose role is operator at least.
    public init(_ scenario: Scenario, address: SocketAddress, adminKey: String) throws(SystemError) {
        self.scenario = scenario
        people = PeopleControl(scenario)
        self.address = address
        self.adminKey = adminKey
        group = try EventLoopGroup(count: 1)
        loop = group.loops[0]
        rest = RESTClient(loop: loop, to: address, timeoutSeconds: 60)
    }

    /// Makes the queue that people will stand in. To be called first; sends no load.
    ///
    /// - Returns: what is wrong with the server, or with the key; nil: nothing.
    public func prepare() async -> String? {
        await withCheckedContinuation { told in
            loop.execute { [self] in
                rest.send(.get, "/ready") { [self] result in
                    switch result {
                    case .failure(let failed):
                        told.resume(
                            returning: failed.reason == .connect ? "nobody answers at \(address)" : "\(address) does not speak HTTP")
                    case .success(let (_, body))
                    where JSONText.string("status", in: body) == nil || body.firstRange(of: "\"bus\":".utf8) == nil:
                        told.resume(returning: "what answers at \(address) is no Stanchion")
                    case .success: makeQueue { told.resume(returning: $0) }
                    }
                }
            }
        }
    }

    private func makeQueue(told: @escaping (String?) -> Void) {
        let body = """
            {"name":"load test","maxConcurrentUsers":1000000,"releaseRatePerMinute":\(Int(scenario.releasesPerMinute)),"graceSeconds":120}
            """
        rest.send(.post, "/v1/queues", key: adminKey, body: body) { [self] result in
            guard case .success(let (status, answer)) = result else { return told("the server does not answer") }
            if status == 401 || status == 403 { return told("the server does not take the admin key: its role must be operator at least") }
            guard status == 201, let id = JSONText.string("id", in: answer) else { return told("a queue cannot be made: status \(status)") }
            queue = id
            queues += 1
            told(nil)
        }
    }

    /// Runs to the end, or until `interrupt`.
    ///
    /// - Parameter progress: told of each second, on the loop.
    public func run(progress: @escaping @Sendable (LoadReport.Second) -> Void) async -> LoadReport {
        let report = await withCheckedContinuation { finished in
            loop.execute { [self] in
                self.finished = finished
                self.progress = progress
                begin()
            }
        }
        group.stop()
        return report
    }

    /// Ends the test at the next second; what was measured is reported.
    public func interrupt() { isInterrupted.store(true, ordering: .relaxed) }

    // MARK: The stages

    private func begin() {
        for _ in 0..<2 {
            followers.append(
                Follower(loop: loop, to: address, queue: queue, key: adminKey) { [weak self] in
                    guard let self, !isOver else { return }
                    brokenStreams += 1
                })
        }
        began = EventLoop.monotonicNow()
        let scenario = scenario
        arrivals = [
            Arrivals(on: loop, perSecond: { [unowned self] in people.arrivalsPerSecond(at: $0, present: visitors.count) }) {
                [unowned self] in
                enter(at: $0)
            },
            Arrivals(on: loop, perSecond: { _ in scenario.readsPerSecond }) { [unowned self] in read(at: $0) },
            Arrivals(on: loop, perSecond: { _ in scenario.createsPerSecond }) { [unowned self] in createAndDelete(at: $0) },
            Arrivals(on: loop, perSecond: { _ in 1 / scenario.announcementSeconds }) { [unowned self] in announce(at: $0) },
        ]
        if scenario.rampSeconds == 0 { for _ in 0..<Int(scenario.users) { enter(at: began) } }
        endSecond(1)
    }

    private func endSecond(_ number: Int) {
        loop.schedule(at: began + UInt64(number) * 1_000_000_000) { [self] in
            let users = visitors.values.count { $0.hasPlace }
            tally.endSecond(at: Double(number), users: users, frames: frames)
            if Double(number) >= scenario.heldFrom { held.note(users) }
            people.endSecond(left: leftThisSecond)
            (frames, leftThisSecond) = (0, 0)
            progress(tally.seconds.last!)
            if number % 5 == 0 { measureServer(after: Double(number)) }
            let isDone = Double(number) >= scenario.durationSeconds || isInterrupted.load(ordering: .relaxed)
            if isDone { end() } else { endSecond(number + 1) }
        }
    }

    private func measureServer(after seconds: Double) {
        rest.send(.get, "/metrics", key: adminKey) { [weak self] result in
            guard let self, case .success(let (_, text)) = result, let now = ServerUse(metrics: text, at: EventLoop.monotonicNow()) else {
                return
            }
            let first = seconds <= scenario.rampSeconds ? now : use?.first ?? now
            use = (first, now, max(use?.mostBytes ?? 0, now.residentBytes))
        }
    }

    /// Everybody goes, what was made is deleted, and what was measured is told.
    private func end() {
        guard !isOver else { return }
        report = LoadReport(
            scenario: scenario, operations: tally.operations, seconds: tally.seconds, mostUsers: most, held: held.result,
            admitted: admitted,
            server: use.flatMap { use in
                let seconds = use.last.at - use.first.at
                return seconds > 0
                    ? LoadReport.Server(
                        cores: (use.last.cpuSeconds - use.first.cpuSeconds) / seconds, mostResidentBytes: use.mostBytes,
                        networkBytesPerSecond: (use.last.networkBytes - use.first.networkBytes) / seconds)
                    : nil
            },
            eventsFollowed: followers.map(\.events.count).min() ?? 0,
            eventsMissing: followers.reduce(0) { $0 + $1.events.missing } + brokenStreams,
            isInterrupted: isInterrupted.load(ordering: .relaxed))
        for arrival in arrivals { arrival.stop() }
        for follower in followers { follower.close() }
        for visitor in visitors.values { visitor.vanish() }
        visitors = [:]
        rest.send(.delete, "/v1/queues/\(queue)", key: adminKey) { [self] _ in queueIsGone() }
    }

    /// A queue is deleted, or never came to be.
    private func queueIsGone() {
        queues -= 1
        guard queues == 0, let report else { return }
        rest.close()
        finished?.resume(returning: report)
        finished = nil
    }

    // MARK: What is done

    private func enter(at planned: UInt64) {
        guard !isOver else { return }
        newest += 1
        let number = newest
        let gone = { [unowned self] in
            if visitors.removeValue(forKey: number) != nil { leftThisSecond += 1 }
        }
        let polls = Double.random(in: 0..<100) < scenario.pollingPercent
        visitors[number] = polls ? PollingVisitor(self, planned, gone) : LiveVisitor(self, number, planned, gone)
        most = max(most, visitors.count)
    }

    private func read(at planned: UInt64) { request(.read, .get, "/v1/queues/\(queue)", key: true, at: planned) { _ in } }

    private func announce(at planned: UInt64) {
        let body = #"{"text":"Thank you for waiting.","severity":"info"}"#
        request(.announce, .post, "/v1/queues/\(queue)/announcements", key: true, body: body, at: planned) { _ in }
    }

    private func createAndDelete(at planned: UInt64) {
        queues += 1
        rest.send(.post, "/v1/queues", key: adminKey, body: #"{"name":"made and deleted"}"#) { [self] result in
            guard let id = note(.create, result, since: planned).flatMap({ JSONText.string("id", in: $0) }) else { return queueIsGone() }
            let asked = EventLoop.monotonicNow()
            rest.send(.delete, "/v1/queues/\(id)", key: adminKey) { [self] result in
                _ = note(.delete, result, since: asked)
                queueIsGone()
            }
        }
    }

    /// - Parameters:
    ///   - key: the admin key is shown.
    ///   - then: given what was answered where that was a success; not called after the end.
    func request(
        _ operation: Tally.Operation, _ method: RESTClient.Method, _ path: String, key: Bool = false, token: String? = nil,
        body: String? = nil, at planned: UInt64, then: @escaping ([UInt8]?) -> Void
    ) {
        rest.send(method, path, key: key ? adminKey : token, body: body) { [weak self] result in
            guard let self, !isOver else { return }
            then(note(operation, result, since: planned))
        }
    }

    /// Counts an answer, and gives its content where it was a success.
    private func note(_ operation: Tally.Operation, _ result: RESTClient.Answer, since planned: UInt64) -> [UInt8]? {
        let (content, reason): ([UInt8]?, String) =
            switch result {
            case .success(let (status, content)) where status < 300: (content, "")
            case .success(let (status, _)): (nil, "status \(status)")
            case .failure(let failed): (nil, failed.reason.rawValue)
            }
        // What comes after the end of the test says nothing of the server.
        if isOver { return content }
        if content != nil {
            tally.note(operation, nanoseconds: EventLoop.monotonicNow() - planned)
        } else {
            tally.fail(operation, reason)
        }
        return content
    }

    /// How long somebody stays, in seconds: at random.
    func staySeconds() -> Double {
        var random = SystemRandomNumberGenerator()
        return RandomMoments.exponential(mean: scenario.staySeconds, &random)
    }

    /// On this machine people come from several addresses: one has ports for 28,000 of them.
    var hasManySources: Bool { address.isLoopback && !address.isIPv6 }

    func noteFrame() { frames += 1 }
    func noteAdmission() { admitted += 1 }
}
