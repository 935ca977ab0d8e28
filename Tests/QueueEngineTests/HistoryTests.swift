import Testing
import TestSupport

@testable import QueueEngine

/// Random histories against the naive model: after every step both say the same, and every event is one that the
/// invariants of the design allow.
@Suite struct HistoryTests {
    static let histories = 5_000

    @Test(arguments: 0..<8) func randomHistoriesMatchTheNaiveModel(part: Int) {
        for number in 0..<HistoryTests.histories / 8 {
            let seed = TestSeed.value &+ UInt64(part * 1_000_000 + number)
            var history = History(seed: seed)
            for _ in 0..<40 {
                history.step()
                if let wrong = history.check() {
                    Issue.record("seed \(seed): \(wrong)")
                    return
                }
            }
        }
    }

    /// Time alone moves a queue on: asked when it wants to be woken, it is never woken for nothing twice.
    @Test func wakingWhenAskedReleasesEverybody() {
        var state = QueueState()
        var log: [QueueEvent] = []
        var now = Timestamp(seconds: 1_000)
        try! state.configure(QueueConfiguration(maxConcurrentUsers: 1_000, releaseRatePerMinute: 90), at: now, &log)
        for _ in 0..<200 { _ = try? state.join(lane: 0, at: now, &log) }
        var wakes = 0
        while state.waitingCount > 0, let wake = state.nextWake(after: now), wakes < 1_000 {
            now = max(now, wake)
            state.advance(to: now, &log)
            wakes += 1
        }
        #expect(state.waitingCount == 0)
        #expect(wakes <= 420)
        // Evenly: 200 people at 90 a minute take at least 2:12 minutes.
        #expect(now.seconds - 1_000 >= 131 && now.seconds - 1_000 < 140)
    }

    /// What expires together expires in parts that no store chokes on, and others are served between them.
    @Test(arguments: [false, true]) func aMultitudeExpiresInParts(isEveryone: Bool) throws {
        var state = QueueState()
        var log: [QueueEvent] = []
        let start = Timestamp(seconds: 1_000)
        try state.configure(QueueConfiguration(releaseRatePerMinute: 0, graceSeconds: 10, settleSeconds: 0), at: start, &log)
        let part = QueueState.expiriesAtOnce
        for _ in 0..<3 * part { _ = try state.join(lane: 0, at: start, &log) }
        // Holes, so that what is left over begins within a range and others follow it.
        for number in stride(from: 1, to: 3 * part, by: 100) { try state.leave(Ticket(lane: 0, number: UInt64(number)), at: start, &log) }
        let all = state.allWaiting
        if isEveryone { state.disconnectEveryone(at: start, &log) } else { state.disconnect(all, at: start, &log) }
        let back = [all[part / 2], all[2 * part + 7]]
        state.connect(back, at: start, &log)
        var replica = state
        var expired: [[Ticket]] = []
        // When everybody is lost, that is a moment of its own, a microsecond later.
        let due = start + .seconds(10) + .milliseconds(1)
        while let wake = state.nextWake(after: due), wake <= due, expired.count < 10 {
            var new: [QueueEvent] = []
            state.advance(to: due, &new)
            new.append(contentsOf: try joined(&state, at: due))
            for event in new { replica.apply(event) }
            expired.append(new.compactMap { if case .expired(let ticket, .grace) = $0.change { ticket } else { nil } })
        }
        #expect(expired.map(\.count) == [part, part, all.count - 2 - 2 * part])
        #expect(expired.flatMap(\.self) == all.filter { !back.contains($0) })
        #expect(state.waitingCount == 2 + expired.count && state.absentCount == 0 && replica == state)
    }

    /// However many are due at once, a decision admits no more than a store can take in a moment, and the rest comes next.
    @Test func aMultitudeIsAdmittedInParts() throws {
        var state = QueueState()
        var log: [QueueEvent] = []
        let start = Timestamp(seconds: 1_000)
        try state.configure(QueueConfiguration(maxConcurrentUsers: 1_000_000, releaseRatePerMinute: 1_000_000), at: start, &log)
        for _ in 0..<10_000 { _ = try state.join(lane: 0, at: start, &log) }
        var parts: [Int] = []
        for _ in 0..<3 {
            log = []
            state.advance(to: start + .seconds(1), &log)
            parts.append(log.count)
        }
        // A second of the pace, which is all that is caught up on, in parts.
        #expect(parts == [2_000, 2_000, 2_000])
    }

    private func joined(_ state: inout QueueState, at now: Timestamp) throws -> [QueueEvent] {
        var log: [QueueEvent] = []
        _ = try state.join(lane: 0, at: now, &log)
        return log
    }
}

/// One random life of a queue.
private struct History {
    private var random: SeededRandom
    private var state = QueueState()
    private var replica = QueueState()
    private var naive = NaiveQueue()
    private var now = Timestamp(seconds: 1_700_000_000)
    private var log: [QueueEvent] = []
    private var problems: [String] = []
    /// Swarm testing (Groce et al., 2012): some things never happen in a history, others often.
    private var weights: [Int]

    init(seed: UInt64) {
        var random = SeededRandom(seed: seed)
        weights = (0..<11).map { _ in random.chance(25) ? 0 : Int.random(in: 1...20, using: &random) }
        weights[0] = max(weights[0], 5)
        self.random = random
        var events: [QueueEvent] = []
        try! state.configure(configuration(), at: now, &events)
        take(events)
    }

    private mutating func configuration() -> QueueConfiguration {
        var new = state.configuration
        new.maxConcurrentUsers = Int.random(in: 1...12, using: &random)
        new.releaseRatePerMinute = [0, 1, 7, 60, 600, 6_000].randomElement(using: &random)!
        new.graceSeconds = Int.random(in: 1...30, using: &random)
        new.admissionTTLSeconds = Int.random(in: 1...60, using: &random)
        new.settleSeconds = Int.random(in: 0...15, using: &random)
        new.maxWaiting = random.chance(20) ? Int.random(in: 0...20, using: &random) : nil
        if state.head == 0, random.chance(50) {
            new.priorityLanes = (0..<Int.random(in: 1...3, using: &random)).map {
                PriorityLane(name: "lane\($0)", sharePercent: random.chance(30) ? 100 : Int.random(in: 1...30, using: &random))
            }
        } else if random.chance(30) {
            for index in new.priorityLanes.indices {
                new.priorityLanes[index].sharePercent = random.chance(30) ? 100 : Int.random(in: 1...30, using: &random)
            }
        }
        new.opensAt = random.chance(10) ? now + .seconds(5) : nil
        new.closesAt = random.chance(5) ? now + .seconds(20) : nil
        return new
    }

    private mutating func someone() -> Ticket {
        if random.chance(10) { return Ticket(lane: Int.random(in: 0..<state.laneCount, using: &random), number: 1) }
        return (state.allWaiting + Array(state.admitted.keys)).randomElement(using: &random) ?? Ticket(lane: 0, number: 999)
    }

    mutating func step() {
        var total = Int.random(in: 0..<weights.reduce(0, +), using: &random)
        let choice = weights.firstIndex {
            total -= $0
            return total < 0
        }!
        now = now + .milliseconds(random.chance(30) ? 0 : Int.random(in: 0...8_000, using: &random))
        var events: [QueueEvent] = []
        let before = state
        do {
            switch choice {
            case 0:
                for _ in 0..<Int.random(in: 1...6, using: &random) {
                    _ = try state.join(lane: Int.random(in: 0..<state.laneCount, using: &random), at: now, &events)
                }
            case 1: state.advance(to: now, &events)
            case 2:
                let gone = (0..<3).map { _ in someone() }
                if random.chance(30) {
                    state.lose(gone, until: now + .seconds(Int.random(in: 0...20, using: &random)), at: now, &events)
                } else {
                    state.disconnect(gone, at: now, &events)
                }
                if random.chance(20) { state.disconnectEveryone(at: now, &events) }
            case 3: state.connect((0..<3).map { _ in someone() }, at: now, &events)
            case 4: try state.leave(someone(), at: now, &events)
            case 5: try state.complete(someone(), at: now, &events)
            case 6: try state.remove(someone(), at: now, &events)
            case 7: if random.chance(50) { try state.pause(at: now, &events) } else { try state.resume(at: now, &events) }
            case 8: try state.configure(configuration(), at: now, &events)
            case 9: state.announce(at: now, &events)
            default: if random.chance(15) { state.close(at: now, &events) } else { try state.open(at: now, &events) }
            }
        } catch {
            // A command that throws has done nothing of its own; joins before it in this step stand.
            if events.isEmpty, state != before { problems.append("\(error) changed something") }
        }
        if random.chance(40) { state.advance(to: now, &events) }
        take(events)
    }

    private mutating func take(_ events: [QueueEvent]) {
        for event in events {
            problems += naive.apply(event).map { "event \(event.seq) (\(event.change)): \($0)" }
            replica.apply(event)
        }
        log += events
    }

    func check() -> String? {
        if let first = problems.first { return first }
        if replica != state { return "a replica differs" }
        if state.status != naive.status { return "status" }
        if Dictionary(uniqueKeysWithValues: state.admitted.map { ($0.key, $0.value) }) != naive.admitted { return "who is admitted" }
        if state.waitingCount != naive.lanes.reduce(0, { $0 + $1.count }) { return "how many wait" }
        for (index, ticket) in naive.order.enumerated() where state.position(ticket) != index + 1 {
            return "position of \(ticket): \(state.position(ticket) ?? 0), not \(index + 1)"
        }
        for lane in 0..<state.laneCount {
            let others = naive.order.firstIndex { $0.lane != lane } ?? .max
            for (index, ticket) in naive.order.enumerated()
            where ticket.lane == lane && state.isBehindAnotherLane(ticket) != (index > others) {
                return "whether another lane is before \(ticket)"
            }
        }
        for person in naive.lanes.joined() where state.isAbsent(person.ticket) != (person.absentSince != nil) { return "who is absent" }
        let rebuilt = QueueState(image)
        if rebuilt != state { return "a replica from rows differs" }
        // Not at every step: each look is dear.
        guard log.count % 8 == 0 else { return nil }
        for seconds in [0, 7, 61, 130, 599, 1_300] {
            let later = now + .seconds(seconds)
            if rebuilt.drain(at: later) != state.drain(at: later) { return "a replica from rows estimates otherwise \(seconds) s later" }
            if state.settlingEnds(after: later) != settlingEnds(after: later) { return "when the line stops waiting,  \(seconds) s later" }
        }
        for replica in [state, rebuilt] { if let wrong = wakesForNothing(replica) { return wrong } }
        return nil
    }

    /// When somebody who is there is next, or else nobody is waited for any more.
    private func settlingEnds(after now: Timestamp) -> Timestamp? {
        func waits(_ moment: Timestamp) -> Bool { state.next(at: moment).map { state.isAbsent($0) } ?? false }
        guard waits(now) else { return nil }
        let ends = state.losses.map(\.until).filter { $0 > now }.sorted()
        return ends.first { state.next(at: $0) != nil && !waits($0) } ?? ends.last
    }

    /// Whoever wakes the queue when it asks for that finds something to do, or learns of a later moment.
    private func wakesForNothing(_ replica: QueueState) -> String? {
        guard let wake = replica.nextWake(after: now) else { return nil }
        var (woken, moment, events) = (replica, max(now, wake), [QueueEvent]())
        woken.advance(to: moment, &events)
        moment = max(moment, woken.lastEventAt)
        guard events.isEmpty, let next = woken.nextWake(after: moment), next <= moment else { return nil }
        return "woken at \(wake) for nothing, and at once again"
    }

    /// What a store would have of this.
    private var image: QueueImage {
        var image = QueueImage(
            configuration: naive.configuration, status: naive.status, head: naive.head, lastEventAt: naive.lastEventAt,
            counters: state.counters)
        image.unseenSince = naive.unseenSince
        image.waiting = naive.lanes.joined().map { ($0.ticket, $0.absentSince) }
        image.admitted = naive.admitted.map { ($0.key, $0.value) }
        let since = naive.lastEventAt - QueueImage.history
        var wasAdmitted: Set<Ticket> = []
        for event in log {
            switch event.change {
            case .admitted(let ticket, _):
                wasAdmitted.insert(ticket)
                if event.at >= since { image.admissions.append(event.at) }
            case .completed: if event.at >= since { image.turnovers.append(event.at) }
            case .left(let ticket), .expired(let ticket, _):
                guard event.at >= since else { continue }
                if wasAdmitted.contains(ticket) { image.turnovers.append(event.at) } else { image.departures.append(event.at) }
            default: break
            }
        }
        return image
    }
}
