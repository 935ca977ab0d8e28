import QueueEngine
import QueueService

/// A seed's whole world: processes over one store and one bus, people, and those who check that all promises are kept.
public final class World: @unchecked Sendable {
    public let seed: UInt64
    public internal(set) var options: Options
    let scheduler: Scheduler
    let database: ModelDatabase
    /// Runs what no process asked for.
    let elsewhere = RunQueue()
    var dice: Dice
    var weather = Weather.calm
    var stormyWeather: Weather
    var processes: [Incarnation?] = []
    /// Those that have gone.
    var gone: Set<InstanceID> = []
    var tenants: [TenantID] = []
    var queues: [SimulatedQueue] = []
    /// Each queue's slug, and when a slug was given up or taken last.
    var slugs: [QueueID: String] = [:]
    var slugMovedAt: [String: Timestamp] = [:]
    /// Where each instance lost a race last, and how often in a row.
    var races: [InstanceID: [QueueID: Race]] = [:]
    var readers: [Reader] = []
    var crowd = 0
    var isDraining = false
    public internal(set) var findings: [Finding] = []
    public internal(set) var tally = Tally()
    var trace = Trace()
    var truth = Truth()
    private(set) lazy var displays = Displays(self)
    let sizes = Sizes()

    // Faults under way.
    var isStoreAway = false
    var isBusAway = false
    /// Since when nothing has been wrong; nil: something is.
    var calmSince: Timestamp?
    var subscribers: [(id: InstanceID, receive: @Sendable ([BusMessage]) -> Void)] = []
    var visitorsMade = 0
    /// What the minute before may still cost.
    var lastCauses = 0

    /// What happened, for the reader of a report and for what it may cost.
    public struct Tally: Sendable {
        public var requests = 0
        public var storeCalls = 0
        public var calls: [StoreCall: Int] = [:]
        public var messages = 0
        public var commits = 0
        public var events = 0
        public var joined = 0
        public var admitted = 0
        public var faults = 0
        /// Queues that opened or closed.
        public var planned = 0
        /// Events that integrators were given.
        public var read = 0
        /// Hours, each counted once for each queue.
        public var queueHours = 0.0
    }

    public init(seed: UInt64) {
        self.seed = seed
        dice = Dice(seed: seed)
        options = Options(Options.kind(of: seed), &dice)
        stormyWeather = Weather.storm(&dice)
        scheduler = Scheduler(dice: Dice(seed: dice.next()))
        database = ModelDatabase(reserves: options.reserves) { [scheduler] in scheduler.now }
        GlobalPool.capture(for: scheduler, fallback: elsewhere)
        scheduler.add(elsewhere)
        database.observe { [weak self] in self?.attempted($0) }
        processes = Array(repeating: nil, count: options.instances)
        tenants = (1...options.tenants).map { TenantID(high: 1, low: UInt64($0)) }
    }

    /// What the seed did, as one number.
    public var digest: UInt64 { trace.digest }
    public var eventCount: Int { trace.count }

    /// Keeps the last things that happened, in words, for whoever looks for the cause of a finding.
    public var keepsStory = false
    public private(set) var story: [String] = []

    func tell(_ text: @autoclosure () -> String) {
        guard keepsStory, findings.isEmpty else { return }
        if story.count > 200_000 { story.removeFirst(100_000) }
        story.append("\(Double((scheduler.now - Timestamp(seconds: 1_700_000_000)).microseconds) / 1e6) \(text())")
    }

    func report(_ kind: Finding.Kind, _ text: String) {
        // Of a world that was ended before its time nothing can be said that time would have brought.
        if !isEnded { findings.append(Finding(kind, text, at: scheduler.now)) }
    }

    /// When the process has no more time for it; asked now and then.
    public var mustEnd: () -> Bool = { false }
    public private(set) var isEnded = false
    private var looks = 0

    var isOver: Bool {
        if scheduler.isSpinning { report(.cost, "the program runs on and on while nothing happens") }
        looks += 1
        if looks % 4_096 == 0, mustEnd() { isEnded = true }
        return isEnded || !findings.isEmpty
    }

    func run(for span: Timestamp.Span) { scheduler.run(until: scheduler.now + span) { isOver } }

    /// Runs until `condition` holds; false where it does not within `span`.
    func run(atMost span: Timestamp.Span, until condition: () -> Bool) -> Bool {
        let end = scheduler.now + span
        while scheduler.now < end, findings.isEmpty, !isEnded {
            if condition() { return true }
            run(for: .milliseconds(500))
        }
        return condition()
    }

    // MARK: Processes

    /// One of those that take visitors, as a load balancer chooses it.
    func pickProcess() -> Incarnation? {
        let serving = processes.compactMap(\.self).filter { $0.isServing && $0.isAlive }
        return serving.isEmpty ? nil : dice.pick(serving)
    }

    func startProcess(_ slot: Int) {
        let process = Incarnation(slot: slot, in: self, seed: dice.next())
        processes[slot] = process
        process.start()
    }

    func startFailed(_ process: Incarnation) {
        guard process.isAlive else { return }
        process.kill()
        scheduler.after(.seconds(2)) { [weak self] in
            if let self, self.processes[process.slot] === process { self.startProcess(process.slot) }
        }
    }

    // MARK: The bus

    func joinBus(_ id: InstanceID, _ receive: @escaping @Sendable ([BusMessage]) -> Void) { subscribers.append((id, receive)) }
    func leaveBus(_ id: InstanceID) { subscribers.removeAll { $0.id == id } }

    func carry(_ messages: [BusMessage], from sender: InstanceID) {
        guard options.hasBus, !isBusAway, subscribers.contains(where: { $0.id == sender }) else { return }
        for subscriber in subscribers where subscriber.id != sender {
            if dice.chance(weather.lost) { continue }
            deliver(messages, to: subscriber.id)
            if dice.chance(weather.duplicated) { deliver(messages, to: subscriber.id) }
        }
    }

    private func deliver(_ messages: [BusMessage], to id: InstanceID) {
        let isLate = dice.chance(weather.delayed)
        let range = isLate ? weather.delay.lowerBound / 1_000...weather.delay.upperBound / 1_000 : 0.0002...0.002
        scheduler.after(dice.time(range)) { [weak self] in
            guard let self, let subscriber = self.subscribers.first(where: { $0.id == id }) else { return }
            self.tally.messages += 1
            self.trace.add(2, UInt64(messages.count), messages.first?.head ?? 0)
            subscriber.receive(messages)
        }
    }

    // MARK: What happens

    func note(_ call: StoreCall, _ weight: Int, _ slot: Int, _ fails: Bool) {
        tally.storeCalls += 1
        tally.calls[call, default: 0] += 1
        tell("process \(slot): \(call) of \(weight)\(fails ? " fails" : "")")
        trace.add(1, UInt64(call.rawValue.utf8.first!), UInt64(weight), UInt64(slot), fails ? 1 : 0, UInt64(scheduler.now.microseconds))
    }

    private func attempted(_ attempt: ModelDatabase.Attempt) {
        switch attempt.outcome {
        case .committed: committed(attempt)
        case .behind: lostRace(attempt)
        default: break
        }
    }

    private func committed(_ commit: ModelDatabase.Attempt) {
        tally.commits += 1
        noteSlug(of: commit.append.record)
        for (event, _) in commit.append.events {
            tally.events += 1
            tell("queue \(commit.append.record.slug), seq \(event.seq) by \(commit.instance.low % 10_000): \(event.change)")
            notePlanned(event.change, commit.append.record.id)
            trace.add(3, event.seq, UInt64(event.at.microseconds), commit.append.record.id.low, event.change.ticket?.rawValue ?? 0)
            for (kind, text) in truth.apply(event, to: commit.append.record) {
                report(kind, "queue \(commit.append.record.slug), seq \(event.seq): \(text)")
            }
        }
        watchProgress(of: commit.append.record.id)
    }

    /// What a schedule may have brought, though nobody did anything.
    private func notePlanned(_ change: QueueEvent.Change, _ id: QueueID) {
        switch (change, truth.line(id)?.status) {
        case (.opened, .scheduled), (.closed, .scheduled), (.closed, .open), (.closed, .paused): tally.planned += 1
        default: break
        }
    }

    /// Somebody's request failed: for want of the store nobody's does while nothing is wrong.
    func answered(_ error: ServiceError) {
        switch error {
        case .unavailable, .storeFull:
            if let calmSince, scheduler.now > calmSince + options.recovery {
                report(.state, "a request was answered \(error), and nothing is wrong")
            }
        default: break
        }
    }

    /// A place was given to somebody: it is in the store, and is that person's.
    func acknowledged(_ joined: QueueService.Joined, to visitor: SimulatedVisitor) {
        tally.joined += 1
        let stored = database.transaction { state, _ in state.session(joined.session.id) }
        if stored?.ticket != joined.session.ticket || stored?.queue != visitor.queue.id {
            report(.state, "session \(joined.session.id) was acknowledged and is not in the store")
        }
    }
}
