import QueueEngine
import Testing

@testable import Simulation

/// The checkers themselves: histories that are right pass, and each that was broken by hand is rejected.
@Suite struct LineTests {
    private static let start = Timestamp(seconds: 1_700_000_000)

    /// What the engine itself makes of a small queue: six people, two lanes, a cap of 2, a rate of 60.
    private static func history() -> [QueueEvent] {
        var (state, log) = (QueueState(), [QueueEvent]())
        let configuration = QueueConfiguration(
            maxConcurrentUsers: 2, releaseRatePerMinute: 60, graceSeconds: 30, admissionTTLSeconds: 20,
            priorityLanes: [PriorityLane(name: "p", sharePercent: 40)])
        log = [.configured(configuration), .opened].enumerated().map { QueueEvent(seq: UInt64($0 + 1), at: start, change: $1) }
        for event in log { state.apply(event) }
        for number in 0..<6 { _ = try? state.join(lane: number % 2, at: start + .milliseconds(number), &log) }
        for second in 1...60 {
            let now = start + .seconds(second)
            if second == 3 { state.disconnect([Ticket(lane: 0, number: 3)], at: now, &log) }
            if second == 5 { try? state.complete(log.compactMap(\.admission).first!, at: now, &log) }
            state.advance(to: now, &log)
        }
        return log
    }

    private static func kinds(_ events: [QueueEvent]) -> Set<Finding.Kind> {
        var line = Line()
        return Set(events.flatMap { line.apply($0) }.map(\.0))
    }

    @Test func historyOfTheEngineIsAccepted() {
        let events = LineTests.history()
        #expect(events.contains { if case .expired(_, .grace) = $0.change { true } else { false } })
        #expect(events.contains { if case .expired(_, .admission) = $0.change { true } else { false } })
        #expect(LineTests.kinds(events) == [])
    }

    struct Break: Sendable, CustomTestStringConvertible {
        let testDescription: String
        let kind: Finding.Kind
        let body: @Sendable (inout [QueueEvent]) -> Void
        init(_ name: String, _ kind: Finding.Kind, _ body: @escaping @Sendable (inout [QueueEvent]) -> Void) {
            (testDescription, self.kind, self.body) = (name, kind, body)
        }
    }

    private static let (general, priority) = (Ticket(lane: 0, number: 1), Ticket(lane: 1, number: 1))

    static let breaks: [Break] = [
        Break("an event is missing", .log) { $0.remove(at: 4) },
        Break("an event is there twice", .log) { $0.insert($0[4], at: 5) },
        Break("time runs backwards", .log) { $0.change(at: 5) { QueueEvent(seq: $0.seq, at: $0.at - .seconds(9), change: $0.change) } },
        Break("a ticket is given out twice", .order) { $0.append(.joined(general)) },
        Break("somebody is admitted twice", .state) { $0.append(.admitted(general, until: start + .seconds(900))) },
        Break("somebody is admitted who never came", .state) {
            $0.append(.admitted(Ticket(lane: 0, number: 99), until: start + .seconds(900)))
        },
        Break("somebody is admitted while absent", .order) {
            $0.append(.joined(Ticket(lane: 0, number: 4)))
            $0.append(.disconnected([TicketRange(first: Ticket(lane: 0, number: 4), count: 1)]))
            $0.append(.admitted(Ticket(lane: 0, number: 4), until: start + .seconds(900)))
        },
        Break("the second of a lane is admitted before the first", .order) {
            $0.append(.joined(Ticket(lane: 0, number: 4)))
            $0.append(.joined(Ticket(lane: 0, number: 5)))
            $0.append(.admitted(Ticket(lane: 0, number: 5), until: start + .seconds(900)))
        },
        Break("more are inside than the cap allows", .cap) {
            for number in UInt64(4)...6 { $0.append(.joined(Ticket(lane: 0, number: number))) }
            for number in UInt64(4)...6 { $0.append(.admitted(Ticket(lane: 0, number: number), until: start + .seconds(900))) }
        },
        Break("more are admitted in a minute than the rate allows", .rate) {
            for number in UInt64(4)...70 {
                $0.append(.joined(Ticket(lane: 0, number: number)))
                $0.append(.admitted(Ticket(lane: 0, number: number), until: start + .seconds(900)))
                $0.append(.completed(Ticket(lane: 0, number: number)))
            }
        },
        Break("somebody is admitted in a pause", .state) {
            $0.append(.joined(Ticket(lane: 0, number: 4)))
            $0.append(.paused)
            $0.append(.admitted(Ticket(lane: 0, number: 4), until: start + .seconds(900)))
        },
        Break("somebody joins after closing", .state) {
            $0.append(.closed)
            $0.append(.joined(Ticket(lane: 0, number: 4)))
        },
        Break("somebody leaves twice", .state) {
            $0.append(.joined(Ticket(lane: 0, number: 4)))
            $0.append(.left(Ticket(lane: 0, number: 4)))
            $0.append(.left(Ticket(lane: 0, number: 4)))
        },
        Break("a session completes that was not admitted", .state) {
            $0.append(.joined(Ticket(lane: 0, number: 4)))
            $0.append(.completed(Ticket(lane: 0, number: 4)))
        },
        Break("an absent visitor expires within the grace period", .state) {
            $0.append(.joined(Ticket(lane: 0, number: 4)))
            $0.append(.disconnected([TicketRange(first: Ticket(lane: 0, number: 4), count: 1)]))
            $0.append(.expired(Ticket(lane: 0, number: 4), .grace))
        },
        Break("a present visitor expires", .state) {
            $0.append(.joined(Ticket(lane: 0, number: 4)))
            $0.append(.expired(Ticket(lane: 0, number: 4), .grace))
        },
        Break("an admission expires early", .state) {
            $0.append(.joined(Ticket(lane: 0, number: 4)))
            $0.append(.admitted(Ticket(lane: 0, number: 4), until: start + .seconds(900)))
            $0.append(.expired(Ticket(lane: 0, number: 4), .admission))
        },
    ]

    @Test(arguments: breaks) func brokenHistoryIsRejected(_ wrong: Break) {
        var events = LineTests.history()
        wrong.body(&events)
        #expect(LineTests.kinds(events).contains(wrong.kind))
    }

    /// A share of 40 %: three in a row of ten for the lane is unfair, two and three in turns are not.
    @Test(arguments: [(2, true), (1, false)]) func laneThatGetsLessThanItsShareIsFound(_ ofFive: Int, _ isFair: Bool) {
        var fairness = LaneFairness()
        fairness.restart(QueueConfiguration(priorityLanes: [PriorityLane(name: "p", sharePercent: 40)]))
        let found = (0..<150).compactMap { fairness.admitted($0 % 5 < ofFive ? 1 : 0, present: [9, 9]) }
        #expect(found.isEmpty == isFair)
    }

    @Test func laneWithNobodyPresentHasNoClaim() {
        var fairness = LaneFairness()
        fairness.restart(QueueConfiguration(priorityLanes: [PriorityLane(name: "p", sharePercent: 40)]))
        #expect((0..<150).compactMap { _ in fairness.admitted(0, present: [9, 0]) }.isEmpty)
    }

    @Test func strictLaneGoesFirst() {
        var fairness = LaneFairness()
        fairness.restart(QueueConfiguration(priorityLanes: [PriorityLane(name: "p", sharePercent: 100)]))
        #expect(fairness.admitted(0, present: [1, 1]) != nil)
        #expect(fairness.admitted(0, present: [1, 0]) == nil)
    }
}

extension QueueEvent {
    fileprivate var admission: Ticket? { if case .admitted(let ticket, _) = change { ticket } else { nil } }
}

extension [QueueEvent] {
    /// Adds what happens an hour later.
    fileprivate mutating func append(_ change: QueueEvent.Change) {
        append(QueueEvent(seq: last!.seq + 1, at: Swift.max(last!.at, Timestamp(seconds: 1_700_000_100)), change: change))
    }

    fileprivate mutating func change(at index: Int, _ body: (QueueEvent) -> QueueEvent) { self[index] = body(self[index]) }
}
