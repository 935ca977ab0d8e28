import QueueEngine
import Testing

@testable import QueueService

/// One bad command, or one bad change of presence, is found while the other kind keeps coming.
@Suite struct RejectionSearchTests {
    private final class Command: PendingCommand {
        let queue = QueueID(high: 0, low: 1)
        let isBad: Bool
        init(isBad: Bool) { self.isBad = isBad }
        func decide(_ decision: inout Decision) throws(ServiceError) {}
        func succeed(_ snapshot: QueueSnapshot?) {}
        func fail(_ error: ServiceError) {}
    }

    /// Somebody connects or goes in every round; of the commands one is bad.
    @Test func badCommandStandsAloneWhilePresenceKeepsChanging() throws {
        var search: RejectionSearch? = RejectionSearch()
        var commands: [any PendingCommand] = (0..<100).map { Command(isBad: $0 == 37) }
        search!.narrow(commands: 100, presence: 1)
        var presence = PresenceChanges()
        for round in 0..<200 {
            presence.open([Ticket(lane: 0, number: UInt64(round + 1))], at: Timestamp(seconds: 1_700_000_000))
            guard let (taken, left) = search?.divide(Backlog.Part(queue: QueueID(high: 0, low: 1), commands: commands, presence: presence))
            else { break }
            presence = left.presence
            let isRefused = taken.commands.contains { ($0 as! Command).isBad }
            if isRefused, taken.commands.count == 1 { return }
            if isRefused {
                search?.narrow(commands: taken.commands.count, presence: taken.presence.count)
            } else {
                commands = left.commands
                search = search?.widened(commands: !taken.commands.isEmpty, presence: !taken.presence.isEmpty)
            }
        }
        Issue.record("the bad command was never alone")
    }
}
