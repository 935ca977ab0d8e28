import TestSupport
import Testing

@testable import QueueEngine

/// What is stored may say anything. What passes the checks must not end the process, whatever is done with it then; a trap would end
/// this run.
@Suite struct PlausibilityTests {
    private static let start = Timestamp(seconds: 1_800_000_000)

    private static func number(_ random: inout SeededRandom) -> UInt64 {
        [0, 1, 2, 3, 5, 77, 1 << 40, 1 << 55, 1 << 56 - 1, 1 << 62, .max].randomElement(using: &random)!
    }

    private static func signed(_ random: inout SeededRandom) -> Int {
        [.min, -1, 0, 1, 5, 60, 100, 600, 86_400, 1_000_000, 1 << 40, .max].randomElement(using: &random)!
    }

    private static func moment(_ random: inout SeededRandom) -> Timestamp {
        Timestamp(
            microseconds: [.min, -1, 0, start.microseconds, start.microseconds + 5_000_000, 7_258_118_400_000_000, .max].randomElement(
                using: &random)!)
    }

    private static func ticket(_ random: inout SeededRandom) -> Ticket {
        Ticket(
            rawValue: random.chance(80)
                ? UInt64.random(in: 0...4, using: &random) : UInt64.random(in: 0...2, using: &random) << 56 | number(&random) >> 8)
    }

    private static func range(_ random: inout SeededRandom) -> TicketRange {
        TicketRange(first: ticket(&random), count: max(1, random.chance(70) ? UInt64.random(in: 1...3, using: &random) : number(&random)))
    }

    private static func configuration(_ random: inout SeededRandom) -> QueueConfiguration {
        var made = QueueConfiguration()
        if random.chance(70) { return made }
        made.maxConcurrentUsers = signed(&random)
        if random.chance(30) { made.releaseRatePerMinute = signed(&random) }
        if random.chance(30) { made.graceSeconds = signed(&random) }
        if random.chance(30) { made.admissionTTLSeconds = signed(&random) }
        if random.chance(30) { made.settleSeconds = signed(&random) }
        if random.chance(30) { made.maxWaiting = signed(&random) }
        if random.chance(30) { made.opensAt = moment(&random) }
        if random.chance(30) { made.closesAt = moment(&random) }
        let lanes = random.chance(30) ? Int.random(in: 0...300, using: &random) : Int.random(in: 0...3, using: &random)
        made.priorityLanes = (0..<lanes).map { PriorityLane(name: "\($0)", sharePercent: random.chance(50) ? 20 : signed(&random)) }
        return made
    }

    private static func change(_ random: inout SeededRandom) -> QueueEvent.Change {
        switch Int.random(in: 0..<14, using: &random) {
        case 0: .configured(configuration(&random))
        case 1: .opened
        case 2: .closed
        case 3, 4: .joined(ticket(&random))
        case 5: .connected([Arrival(range(&random), since: random.chance(50) ? nil : moment(&random))])
        case 6: .disconnected([range(&random), range(&random)])
        case 7: .lost([range(&random)], since: moment(&random), until: moment(&random))
        case 8: .everyoneDisconnected
        case 9, 10: .admitted(ticket(&random), until: moment(&random))
        case 11: .completed(ticket(&random))
        case 12: .left(ticket(&random))
        default: .expired(ticket(&random), .grace)
        }
    }

    /// Everything that is asked of a line.
    private static func use(_ state: QueueState, _ random: inout SeededRandom) {
        var (state, log) = (state, [QueueEvent]())
        let now = max(start, state.lastEventAt) + .seconds(1)
        for lane in 0..<state.laneCount { _ = try? state.join(lane: lane, at: now, &log) }
        for moment in [now, now + .seconds(70), now + .seconds(100_000)] {
            _ = state.nextWake(after: moment)
            state.advance(to: moment, &log)
            for ticket in [Ticket(rawValue: 1), ticket(&random)] { _ = (state.position(ticket), state.standing(ticket)) }
            _ = state.drain(at: moment).wait(at: 5)
        }
        state.lose([Ticket(rawValue: 1), Ticket(rawValue: 2)], until: now + .seconds(200_000), at: now, &log)
        state.disconnectEveryone(at: state.lastEventAt, &log)
        state.advance(to: state.lastEventAt + .seconds(100_000), &log)
        _ = (state.counters, state.nextWake(after: state.lastEventAt))
    }

    @Test(arguments: 0..<60) func acceptedEventsCanBeApplied(seed: UInt64) throws {
        var random = SeededRandom(seed: seed)
        var state = QueueState()
        var accepted = 0
        for _ in 0..<3_000 {
            let event = QueueEvent(
                seq: random.chance(95) ? state.head + 1 : Self.number(&random),
                at: random.chance(99) || state.head < 20 ? max(state.lastEventAt, Self.start) + .milliseconds(5) : Self.moment(&random),
                change: Self.change(&random))
            guard state.accepts(event) else { continue }
            state.apply(event)
            accepted += 1
            if accepted % 50 == 0 { Self.use(state, &random) }
        }
        Self.use(state, &random)
        #expect(accepted > 20)
    }

    /// What a state decides it accepts: nothing that was committed is refused elsewhere.
    @Test(arguments: 0..<40) func decidedEventsAreAccepted(seed: UInt64) throws {
        var random = SeededRandom(seed: seed)
        var (state, replica, log) = (QueueState(), QueueState(), [QueueEvent]())
        var now = Self.start
        let lanes = [PriorityLane(name: "a", sharePercent: 30), PriorityLane(name: "b")]
        try state.configure(
            QueueConfiguration(
                maxConcurrentUsers: 5, releaseRatePerMinute: 600, graceSeconds: 5, admissionTTLSeconds: 5, priorityLanes: lanes), at: now,
            &log)
        for _ in 0..<400 {
            now = now + .milliseconds(Int.random(in: 0...900, using: &random))
            let tickets = (0..<3).map { _ in
                Ticket(lane: Int.random(in: 0...2, using: &random), number: UInt64.random(in: 1...40, using: &random))
            }
            switch Int.random(in: 0..<9, using: &random) {
            case 0, 1: _ = try? state.join(lane: Int.random(in: 0...2, using: &random), at: now, &log)
            case 2: state.connect(tickets, at: now, &log)
            case 3: state.disconnect(tickets, at: now, &log)
            case 4: state.lose(tickets, until: now + .seconds(Int.random(in: 0...20, using: &random)), at: now, &log)
            case 5: if random.chance(20) { state.disconnectEveryone(at: now, &log) }
            case 6: try? state.leave(tickets[0], at: now, &log)
            case 7: try? state.complete(tickets[1], at: now, &log)
            default: state.advance(to: now, &log)
            }
        }
        for event in log {
            #expect(replica.accepts(event))
            replica.apply(event)
        }
        #expect(replica == state)
    }

    @Test(arguments: 0..<60) func consistentImagesAreLines(seed: UInt64) {
        var random = SeededRandom(seed: seed)
        var usable = 0
        for _ in 0..<400 {
            let odd = random.chance(50)
            let configuration = odd ? Self.configuration(&random) : QueueConfiguration()
            let lanes = random.chance(90) ? configuration.priorityLanes.count + 1 : 2
            func one<V>(_ usual: V, _ any: (inout SeededRandom) -> V) -> V { random.chance(odd ? 60 : 97) ? usual : any(&random) }
            let counters = QueueCounters(
                next: (0..<min(lanes, 400)).map { _ in one(5, Self.number) },
                pass: (0..<min(lanes, 400)).map { _ in Int64(one(0, Self.signed)) },
                anchor: Int64(one(0, Self.signed)), losses: one(nil) { [Loss(since: Self.moment(&$0), until: Self.moment(&$0))] },
                watchedSince: one(nil, Self.moment))
            var image = QueueImage(
                configuration: configuration, status: .open, head: one(9, Self.number), lastEventAt: one(Self.start, Self.moment),
                counters: counters)
            image.unseenSince = one(nil, Self.moment)
            image.waiting = (1...3).map { (one(Ticket(rawValue: $0), Self.ticket), one(nil, Self.moment)) }
            image.admitted = [(one(Ticket(rawValue: 4), Self.ticket), one(Self.start, Self.moment))]
            image.admissions = [one(Self.start, Self.moment)]
            guard image.isConsistent else { continue }
            usable += 1
            Self.use(QueueState(image), &random)
        }
        #expect(usable > 20)
    }
}
