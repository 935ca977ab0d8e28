import QueueEngine
import Testing
import TestSupport

@testable import QueueService

@Suite struct BacklogTests {
    private final class Command: PendingCommand {
        let queue: QueueID
        let number: Int
        init(_ queue: QueueID, _ number: Int) { (self.queue, self.number) = (queue, number) }
        func decide(_ decision: inout Decision) throws(ServiceError) {}
        func succeed(_ snapshot: QueueSnapshot?) {}
        func fail(_ error: ServiceError) {}
    }

    private func id(_ number: Int) -> QueueID { QueueID(high: 0, low: UInt64(number)) }
    private func numbers(_ part: Backlog.Part) -> [Int] { part.commands.map { ($0 as! Command).number } }

    @Test func batchNeverExceedsItsLimits() {
        var backlog = Backlog()
        for number in 0..<10_000 { backlog.add(Command(id(number % 7), number)) }
        backlog.changePresence(of: id(0)) {
            $0.open((1...20_000).map { Ticket(lane: 0, number: UInt64($0)) }, at: Timestamp(seconds: 1_700_000_000))
        }
        var (commands, tickets) = (0, 0)
        while backlog.hasWork {
            let batch = backlog.take(BatchLimits())
            let count = batch.reduce(0) { $0 + $1.commands.count }
            #expect(count <= 2_000)
            #expect(batch.reduce(0) { $0 + $1.presence.count } <= 5_000)
            commands += count
            tickets += batch.reduce(0) { $0 + $1.presence.count }
        }
        #expect(commands == 10_000 && tickets == 20_000 && backlog.commandCount == 0)
    }

    @Test func crowdInOneQueueDelaysNoOther() {
        var backlog = Backlog()
        for number in 0..<50_000 { backlog.add(Command(id(0), number)) }
        _ = backlog.take(BatchLimits())
        backlog.add(Command(id(1), 1))
        let next = backlog.take(BatchLimits())
        #expect(next.contains { $0.queue == id(1) })
    }

    @Test func commandsThatLostARaceKeepTheirPlace() {
        var backlog = Backlog()
        for number in 0..<10 { backlog.add(Command(id(0), number)) }
        var limits = BatchLimits()
        limits.commands = 4
        let part = backlog.take(limits)[0]
        #expect(numbers(part) == [0, 1, 2, 3])
        backlog.add(Command(id(0), 10))
        backlog.putBack(part)
        limits.commands = 100
        let again = backlog.take(limits)[0]
        #expect(numbers(again) == Array(0...10))
    }

    @Test func blockedQueueWaitsAndLosesNothing() {
        var backlog = Backlog()
        backlog.add(Command(id(0), 0))
        backlog.block(id(0))
        backlog.add(Command(id(0), 1))
        backlog.add(Command(id(1), 2))
        let others = backlog.take(BatchLimits())
        #expect(others.map(\.queue) == [id(1)])
        #expect(!backlog.hasWork && backlog.commandCount == 2)
        let wasBlocked = backlog.unblock(id(0))
        #expect(wasBlocked)
        let own = backlog.take(BatchLimits())[0]
        #expect(numbers(own) == [0, 1])
    }

    /// A queue in which one person waits.
    private func queueOfOne() throws -> (queue: HostedQueue, ticket: Ticket, now: Timestamp) {
        var state = QueueState(QueueConfiguration(releaseRatePerMinute: 0))
        var log: [QueueEvent] = []
        let now = Timestamp(seconds: 1_700_000_000)
        try state.configure(state.configuration, at: now, &log)
        let ticket = try state.join(lane: 0, at: now, &log)
        let record = QueueRecord(
            id: id(1), tenant: TenantID(high: 0, low: 1), epoch: 1, slug: "q", name: "", configuration: state.configuration, createdAt: now)
        return (HostedQueue(record: record, state: state), ticket, now)
    }

    /// A connection that is not counted any more ends, and another one opens beside polls: that one is a holder of its own.
    @Test(arguments: ["co", "cco"]) func connectionBesidePollsIsCountedBehindStrayEnd(_ changes: String) throws {
        let (queue, ticket, now) = try queueOfOne()
        var (hosted, pending) = (queue, PresenceChanges())
        #expect(hosted.presence.polled(ticket, at: now, lease: QueueService.pollLease) && hosted.presence.opened(ticket))
        for change in changes { if change == "o" { pending.open([ticket], at: now) } else { pending.close([ticket]) } }
        var decision = Decision(hosted, now: now)
        try pending.decide(&decision)
        #expect(decision.presence.holders(of: ticket) == 2)
    }

    /// What changes come to when another instance has taken the ticket over before they are decided.
    @Test(arguments: [
        // The old connection ends, a new one begins: it holds the ticket.
        ("co", 0, true), ("co", 1, true),
        // A new one begins and ends.
        ("oc", 0, false), ("oc", 1, true),
        // Another instance takes it over, and a connection that is there takes it back, or is let go.
        ("fo", 1, true), ("ofo", 0, true), ("ofoc", 0, false), ("of", 1, false), ("cfo", 1, true), ("oofooc", 0, true), ("foc", 2, false),
    ]) func changesOfOneTicketCountInTheirOrder(_ changes: String, holders: Int, isHeld: Bool) throws {
        let (queue, ticket, now) = try queueOfOne()
        // However the changes are divided over two batches of which the first is put back.
        for cut in 0...changes.count {
            var (hosted, first, rest) = (queue, PresenceChanges(), PresenceChanges())
            hosted.presence.setHolders(of: ticket, to: holders)
            // The first batch is back before anything of another instance is known.
            for (index, change) in changes.enumerated() {
                if index == cut { rest.putBack(first) }
                switch (change, index < cut) {
                case ("o", true): first.open([ticket], at: now)
                case ("o", false): rest.open([ticket], at: now)
                case ("c", true): first.close([ticket])
                case ("c", false): rest.close([ticket])
                default:
                    hosted.presence.forget(ticket)
                    first.forgetHolders(of: [ticket])
                    rest.forgetHolders(of: [ticket])
                }
            }
            if cut == changes.count { rest.putBack(first) }
            var decision = Decision(hosted, now: now)
            try rest.decide(&decision)
            #expect(decision.presence.holds(ticket) == isHeld)
            // Who is held elsewhere alone is not called absent here.
            #expect(decision.state.isAbsent(ticket) == (!isHeld && !changes.hasSuffix("f")))
        }
    }

    /// A queue for which nothing waits must be able to rest.
    @Test func changeOfNobodyLeavesNothing() {
        var backlog = Backlog()
        backlog.changePresence(of: id(1)) { $0.close([]) }
        #expect(!backlog.concerns(id(1)) && !backlog.hasWork)
    }

    /// 200,000 changes of 1,000 people hold a thousand entries, and decide to what the last ones say.
    @Test func presenceIsMergedPerTicket() throws {
        var random = SeededRandom(seed: TestSeed.value)
        var state = QueueState(QueueConfiguration(releaseRatePerMinute: 0))
        var log: [QueueEvent] = []
        let now = Timestamp(seconds: 1_700_000_000)
        try state.configure(state.configuration, at: now, &log)
        let tickets = try (0..<1_000).map { _ in try state.join(lane: 0, at: now, &log) }
        let record = QueueRecord(
            id: id(1), tenant: TenantID(high: 0, low: 1), epoch: 1, slug: "q", name: "", configuration: state.configuration, createdAt: now)
        var hosted = HostedQueue(record: record, state: state)
        for ticket in tickets { _ = hosted.presence.opened(ticket) }
        var changes = PresenceChanges()
        var holders = Dictionary(uniqueKeysWithValues: tickets.map { ($0, 1) })
        for _ in 0..<200_000 {
            let ticket = tickets.randomElement(using: &random)!
            if holders[ticket]! > 0, random.chance(50) {
                changes.close([ticket])
                holders[ticket]! -= 1
            } else {
                changes.open([ticket], at: now)
                holders[ticket]! += 1
            }
        }
        #expect(changes.count <= tickets.count)
        var decision = Decision(hosted, now: now)
        while !changes.isEmpty { try changes.take(300).decide(&decision) }
        for ticket in tickets { #expect(decision.state.isAbsent(ticket) == (holders[ticket] == 0)) }
        #expect(decision.events.count <= 8)
    }
}
