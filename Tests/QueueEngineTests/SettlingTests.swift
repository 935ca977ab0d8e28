import QueueEngine
import Testing
import TestSupport

/// A restart changes nobody's order: the line waits for people whom it has disconnected.
@Suite struct SettlingTests {
    private let start = Timestamp(seconds: 1_700_000_000)

    /// Twenty wait, one may be inside, and one is.
    private func line(settleSeconds: Int = 15) throws -> (state: QueueState, tickets: [Ticket], log: [QueueEvent]) {
        var state = QueueState()
        var log: [QueueEvent] = []
        let configuration = QueueConfiguration(
            maxConcurrentUsers: 1, releaseRatePerMinute: 600, graceSeconds: 300, settleSeconds: settleSeconds)
        try state.configure(configuration, at: start, &log)
        let tickets = try (0..<20).map { _ in try state.join(lane: 0, at: start, &log) }
        return (state, tickets, log)
    }

    private func admitted(_ log: [QueueEvent]) -> [Ticket] {
        log.compactMap { if case .admitted(let ticket, _) = $0.change { ticket } else { nil } }
    }

    private enum Cause: CaseIterable { case restart, instanceLost }

    private func lose(_ tickets: [Ticket], by cause: Cause, _ state: inout QueueState, _ log: inout [QueueEvent]) {
        switch cause {
        case .restart: state.disconnectEveryone(at: start, &log)
        case .instanceLost: state.lose(tickets, until: start + .seconds(15), at: start, &log)
        }
    }

    @Test(arguments: [false, true]) func newcomerIsNotAdmittedAheadOfWhoWasPresentBefore(isRestart: Bool) throws {
        var (state, tickets, log) = try line()
        lose(tickets, by: isRestart ? .restart : .instanceLost, &state, &log)
        let newcomer = try state.join(lane: 0, at: start + .seconds(1), &log)
        state.connect([tickets[12]], at: start + .seconds(2), &log)
        state.advance(to: start + .seconds(3), &log)
        #expect(admitted(log).isEmpty)
        // The first comes back within the time, and is the next.
        state.connect([tickets[0]], at: start + .seconds(10), &log)
        state.advance(to: start + .seconds(10), &log)
        #expect(admitted(log) == [tickets[0]])
        try state.complete(tickets[0], at: start + .seconds(11), &log)
        state.advance(to: start + .seconds(12), &log)
        #expect(admitted(log) == [tickets[0]])
        // Their time is over: the first of those who are there is next, and the newcomer stands behind.
        let wake = try #require(state.nextWake(after: start + .seconds(12)))
        #expect(wake >= start + .seconds(15) && wake < start + .seconds(16))
        state.advance(to: start + .seconds(16), &log)
        #expect(admitted(log) == [tickets[0], tickets[12]])
        try state.complete(tickets[12], at: start + .seconds(17), &log)
        state.advance(to: start + .seconds(18), &log)
        #expect(admitted(log).last == newcomer)
    }

    /// Until the line goes on nobody is told that it moves, and everybody's wait is as much longer.
    @Test(arguments: [false, true]) func waitIncludesTheTimeForWhichTheLineStandsStill(isRestart: Bool) throws {
        var (state, tickets, log) = try line()
        let newcomer = try state.join(lane: 0, at: start, &log)
        let before = state.drain(at: start)
        lose(tickets, by: isRestart ? .restart : .instanceLost, &state, &log)
        state.connect([newcomer, tickets[5]], at: start + .seconds(5), &log)
        let drain = state.drain(at: start + .seconds(5))
        #expect(abs(drain.stillSeconds - 10) < 0.001 && drain.rate(at: 1) == 0 && before.rate(at: 1) > 0)
        let (wait, own) = try (#require(drain.wait(at: 3)), #require(before.wait(at: 3)))
        #expect(abs(wait.p50Seconds - own.p50Seconds - 10) < 0.001 && abs(wait.p90Seconds - own.p90Seconds - 10) < 0.001)
        #expect(abs(state.drain(at: start + .seconds(12)).stillSeconds - 3) < 0.001)
        // Time alone lets it go on.
        #expect(state.drain(at: start + .seconds(16)) == before)
        // So does the first, who is back.
        state.connect([tickets[0]], at: start + .seconds(6), &log)
        #expect(state.drain(at: start + .seconds(6)) == before)
    }

    /// Two instances are lost one after the other, and the line waits for the visitors of both.
    @Test func waitIncludesTheTimeOfEachLoss() throws {
        var (state, tickets, log) = try line()
        state.lose([tickets[1]], until: start + .seconds(40), at: start + .seconds(1), &log)
        state.lose([tickets[0]], until: start + .seconds(20), at: start + .seconds(10), &log)
        #expect(abs(state.drain(at: start + .seconds(11)).stillSeconds - 29) < 0.001)
        state.lose(Array(tickets[2...]), until: start + .seconds(30), at: start + .seconds(12), &log)
        // Nobody is left who could be let in before: as long as anybody may come back.
        #expect(abs(state.drain(at: start + .seconds(13)).stillSeconds - 27) < 0.001)
    }

    /// Where very many are waited for not all are asked about, and nobody is told a shorter wait for that.
    @Test func waitIsNoShorterWhereManyAreWaitedFor() throws {
        var (state, tickets, log) = try line()
        let many = try (0..<1_500).map { _ in try state.join(lane: 0, at: start, &log) }
        let newcomer = try state.join(lane: 0, at: start, &log)
        state.lose(tickets + many.dropLast(), until: start + .seconds(20), at: start + .seconds(1), &log)
        state.lose([many.last!], until: start + .seconds(40), at: start + .seconds(2), &log)
        #expect(abs(state.drain(at: start + .seconds(3)).stillSeconds - 37) < 0.001)
        state.lose([newcomer], until: start + .seconds(60), at: start + .seconds(3), &log)
        #expect(abs(state.drain(at: start + .seconds(4)).stillSeconds - 56) < 0.001)
    }

    /// Where an instance dealt moments to come back before it ended, the line waits for as long as those last.
    @Test func restartWaitsForMomentsThatWereDealtBefore() throws {
        var (state, tickets, log) = try line()
        state.lose(tickets, until: start + .seconds(60), at: start, &log)
        state.disconnectEveryone(at: start + .seconds(5), &log)
        _ = try state.join(lane: 0, at: start + .seconds(6), &log)
        state.advance(to: start + .seconds(59), &log)
        #expect(admitted(log).isEmpty)
        state.advance(to: start + .seconds(61), &log)
        #expect(admitted(log).count == 1)
    }

    @Test func nobodyIsWaitedForWhereThatIsSwitchedOff() throws {
        var (state, tickets, log) = try line(settleSeconds: 0)
        state.disconnectEveryone(at: start, &log)
        state.connect([tickets[3]], at: start + .seconds(1), &log)
        state.advance(to: start + .seconds(1), &log)
        #expect(admitted(log) == [tickets[3]])
    }

    /// Those who are gone for good hold the line up once, and not again and again.
    @Test func whoNeverReturnsHoldsUpTheLineOnlyOnce() throws {
        var (state, tickets, log) = try line()
        state.lose([tickets[0]], until: start + .seconds(15), at: start, &log)
        for round in 1...5 {
            state.lose([tickets[round]], until: start + .seconds(15 + 10 * round), at: start + .seconds(10 * round), &log)
        }
        state.advance(to: start + .seconds(66), &log)
        #expect(admitted(log) == [tickets[6]])
    }

    /// A drain brings an event with each commit; all of them are one loss a second, and nobody is forgotten.
    @Test func lineWaitsForEverybodyOfALongDrain() throws {
        var state = QueueState()
        var log: [QueueEvent] = []
        try state.configure(QueueConfiguration(maxConcurrentUsers: 1, releaseRatePerMinute: 600), at: start, &log)
        let tickets = try (0..<500).map { _ in try state.join(lane: 0, at: start, &log) }
        for (index, ticket) in tickets.enumerated() {
            state.lose([ticket], until: start + .seconds(60), at: start + .milliseconds(20 * index), &log)
        }
        #expect((state.counters.losses?.count ?? 0) <= 12)
        _ = try state.join(lane: 0, at: start + .seconds(11), &log)
        state.advance(to: start + .seconds(59), &log)
        #expect(admitted(log).isEmpty)
    }

    /// Nobody loses the place for want of time while the line waits for them.
    @Test func graceDoesNotEndWhileTheLineWaits() throws {
        var state = QueueState()
        var log: [QueueEvent] = []
        try state.configure(QueueConfiguration(maxConcurrentUsers: 1, releaseRatePerMinute: 0, graceSeconds: 5), at: start, &log)
        let ticket = try state.join(lane: 0, at: start, &log)
        state.lose([ticket], until: start + .seconds(30), at: start, &log)
        state.advance(to: start + .seconds(29), &log)
        #expect(state.isWaiting(ticket))
        state.advance(to: start + .seconds(31), &log)
        #expect(!state.isWaiting(ticket))
    }

    /// Who went by themselves loses the place after the grace period, though the line waits longer for others who went before.
    @Test(arguments: [false, true]) func graceEndsWhileTheLineWaitsForOthers(isRebuilt: Bool) throws {
        var (state, tickets, log) = try line()
        let patient = QueueConfiguration(maxConcurrentUsers: 1, releaseRatePerMinute: 600, graceSeconds: 5, settleSeconds: 600)
        try state.configure(patient, at: start, &log)
        state.lose([tickets[0]], until: start + .seconds(600), at: start, &log)
        state.disconnect([tickets[1]], at: start + .seconds(20), &log)
        if isRebuilt {
            var image = QueueImage(
                configuration: patient, status: .open, head: state.head, lastEventAt: state.lastEventAt, counters: state.counters)
            image.waiting = tickets.map { ($0, nil) }
            image.waiting[0].absentSince = try #require(state.counters.losses?.first?.since)
            image.waiting[1].absentSince = start + .seconds(20)
            state = QueueState(image)
        }
        #expect(state.nextWake(after: start + .seconds(20)) == start + .seconds(25))
        state.advance(to: start + .seconds(25), &log)
        #expect(!state.isWaiting(tickets[1]) && state.isWaiting(tickets[0]))
        state.advance(to: start + .seconds(599), &log)
        #expect(state.isWaiting(tickets[0]))
        state.advance(to: start + .seconds(600), &log)
        #expect(!state.isWaiting(tickets[0]))
    }

    /// Somebody goes by themselves at the very moment of a loss: the line does not wait for them.
    @Test func ordinaryAbsenceAtTheMomentOfALossIsNoLoss() throws {
        var (state, tickets, log) = try line()
        state.lose([tickets[5]], until: start + .seconds(31), at: start, &log)
        state.disconnect([tickets[0]], at: start, &log)
        state.advance(to: start + .seconds(1), &log)
        #expect(admitted(log) == [tickets[1]])
    }

    /// The time during which the line waited is not caught up on, whether a tick or something else finds its end.
    @Test(arguments: [false, true]) func paceBeginsAnewWhenTheLineHasWaited(isFoundByAnother: Bool) throws {
        var state = QueueState()
        var log: [QueueEvent] = []
        try state.configure(QueueConfiguration(releaseRatePerMinute: 6_000), at: start, &log)
        let tickets = try (0..<500).map { _ in try state.join(lane: 0, at: start, &log) }
        state.lose([tickets[0]], until: start + .seconds(15), at: start, &log)
        state.advance(to: start + .seconds(14), &log)
        #expect(admitted(log).isEmpty)
        let end = start + .seconds(15)
        #expect(state.nextWake(after: start + .seconds(14)) == end)
        if isFoundByAnother { _ = try state.join(lane: 0, at: end + .milliseconds(200), &log) }
        state.advance(to: end + .milliseconds(200), &log)
        // One at the end itself, and one each 10 ms.
        #expect(admitted(log).count == 21)
        state.advance(to: end + .milliseconds(500), &log)
        #expect(admitted(log).count == 51)
        var replica = QueueState()
        for event in log { replica.apply(event) }
        #expect(replica == state)
    }

    /// The line waits for those who were there, and not for those who had gone before.
    @Test func restartDoesNotWaitForThoseWhoHadGoneBefore() throws {
        var (state, tickets, log) = try line()
        state.disconnect([tickets[0]], at: start, &log)
        state.disconnectEveryone(at: start + .seconds(1), &log)
        state.connect([tickets[1]], at: start + .seconds(2), &log)
        state.advance(to: start + .seconds(2), &log)
        #expect(admitted(log) == [tickets[1]])
        // Grace counts anew all the same: nobody could come back while no instance was there.
        state.advance(to: start + .seconds(300), &log)
        #expect(state.isWaiting(tickets[0]))
        state.advance(to: start + .seconds(302), &log)
        #expect(!state.isWaiting(tickets[0]))
    }

    /// People whom the line waited for already it waits for after a restart, too: also where they could not come back in time because
    /// the restart took longer than the line was to wait.
    @Test(arguments: [10, 60]) func restartWaitsOnForThoseWhoAreWaitedFor(restart: Int) throws {
        var (state, tickets, log) = try line()
        state.lose([tickets[0]], until: start + .seconds(15), at: start, &log)
        state.disconnectEveryone(at: start + .seconds(restart), &log)
        state.connect(tickets[1...], at: start + .seconds(restart + 1), &log)
        state.advance(to: start + .seconds(restart + 14), &log)
        #expect(admitted(log).isEmpty)
        state.advance(to: start + .seconds(restart + 16), &log)
        #expect(admitted(log) == [tickets[1]])
        var replica = QueueState()
        for event in log { replica.apply(event) }
        #expect(replica == state)
    }

    /// After a second restart the line waits once more for somebody who was there before the first one and has not come back, though
    /// it had waited long enough: who has not been seen between two restarts counts as lost with the second.
    @Test func secondRestartWaitsForWhoHasNotBeenSeenSince() throws {
        var (state, tickets, log) = try line()
        state.disconnectEveryone(at: start, &log)
        state.connect(tickets[1...], at: start + .seconds(1), &log)
        state.advance(to: start + .seconds(16), &log)
        #expect(admitted(log) == [tickets[1]])
        try state.complete(tickets[1], at: start + .seconds(17), &log)
        state.disconnectEveryone(at: start + .seconds(20), &log)
        state.connect(tickets[2...], at: start + .seconds(21), &log)
        state.advance(to: start + .seconds(34), &log)
        #expect(admitted(log) == [tickets[1]])
        state.advance(to: start + .seconds(36), &log)
        #expect(admitted(log) == [tickets[1], tickets[2]])
    }

    /// Nobody waits for people who are lost until a moment that has passed: they are absent like others, and a loss of the same
    /// moment is not mixed up with theirs.
    @Test func lossThatIsOverIsAnAbsence() throws {
        var (state, tickets, log) = try line()
        for ticket in tickets.prefix(2) { state.lose([ticket], until: start, at: start, &log) }
        #expect(log.suffix(2).allSatisfy { if case .disconnected = $0.change { true } else { false } })
        #expect(state.isAbsent(tickets[0]) && state.isAbsent(tickets[1]))
        state.advance(to: start, &log)
        #expect(admitted(log) == [tickets[2]])
    }
}
