import QueueEngine
import Testing

/// The times of a queue: which ones are refused, whoever sets them.
@Suite struct TimesTests {
    private let now = Timestamp(seconds: 1_700_000_000)

    private func configured(_ configuration: QueueConfiguration) throws -> QueueState {
        var state = QueueState()
        var log: [QueueEvent] = []
        try state.configure(configuration, at: now, &log)
        return state
    }

    /// Sets the queue anew; a refusal has changed nothing.
    private func set(_ state: inout QueueState, at moment: Timestamp, _ change: (inout QueueConfiguration) -> Void) throws {
        var configuration = state.configuration
        change(&configuration)
        let before = state
        var log: [QueueEvent] = []
        do { try state.configure(configuration, at: moment, &log) } catch {
            #expect(log.isEmpty && state == before)
            throw error
        }
    }

    @Test func queueThatWouldCloseBeforeItOpensIsRefused() throws {
        let opensAt = now + .seconds(60)
        for closesAt in [opensAt, opensAt - .seconds(1)] {
            #expect(throws: QueueRefusal.closesBeforeOpening) {
                try configured(QueueConfiguration(opensAt: opensAt, closesAt: closesAt))
            }
        }
        var state = try configured(QueueConfiguration(opensAt: opensAt, closesAt: opensAt + .seconds(1)))
        #expect(throws: QueueRefusal.closesBeforeOpening) { try set(&state, at: now) { $0.opensAt = opensAt + .seconds(2) } }
        #expect(throws: QueueRefusal.closesBeforeOpening) { try set(&state, at: now) { $0.closesAt = opensAt } }
    }

    @Test func closingInThePastIsRefused() throws {
        #expect(throws: QueueRefusal.closesAtIsPast) { try configured(QueueConfiguration(closesAt: now)) }
        var state = try configured(QueueConfiguration())
        #expect(throws: QueueRefusal.closesAtIsPast) { try set(&state, at: now + .seconds(5)) { $0.closesAt = now + .seconds(5) } }
        try set(&state, at: now) { $0.closesAt = now + .seconds(5) }
        // What stays as it is, is not judged anew.
        try set(&state, at: now + .seconds(10)) { $0.maxConcurrentUsers = 7 }
        #expect(state.configuration.maxConcurrentUsers == 7)
    }

    @Test(arguments: [false, true]) func openingCannotBeSetOnceTheQueueHasOpened(isClosed: Bool) throws {
        var state = try configured(QueueConfiguration())
        var log: [QueueEvent] = []
        if isClosed { state.close(at: now, &log) }
        #expect(throws: QueueRefusal.notScheduled) { try set(&state, at: now) { $0.opensAt = now + .seconds(60) } }
    }

    /// A queue that was opened by hand keeps the moment at which it would have opened, and closes whenever that is wanted.
    @Test func staleOpeningHindersNothing() throws {
        let opensAt = now + .seconds(3_600)
        var state = try configured(QueueConfiguration(opensAt: opensAt))
        var log: [QueueEvent] = []
        try state.open(at: now, &log)
        try set(&state, at: now) { $0.closesAt = now + .seconds(60) }
        #expect(state.configuration.opensAt == opensAt)
        try set(&state, at: now) { $0.opensAt = nil }
        #expect(state.status == .open)
        state.advance(to: now + .seconds(60), &log)
        #expect(state.status == .closed)
    }
}
