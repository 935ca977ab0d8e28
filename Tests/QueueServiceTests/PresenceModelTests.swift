import QueueEngine
import TestSupport
import Testing

@testable import QueueService

/// Who is in sight, against the plainest way of keeping it: a number for each who polls.
@Suite struct PresenceModelTests {
    private struct Model {
        var ends: [Ticket: Int64] = [:]

        /// Whether it is a new one.
        mutating func polled(_ ticket: Ticket, until second: Int64) -> Bool { ends.updateValue(second, forKey: ticket) == nil }

        mutating func lapsed(at second: Int64) -> Set<Ticket> {
            let gone = ends.filter { $0.value <= second }.map(\.key)
            for ticket in gone { ends[ticket] = nil }
            return Set(gone)
        }
    }

    @Test func pollsAreKeptAsLongAsTheyPromise() {
        let random = SeededSource(seed: TestSeed.value)
        func draw(_ count: UInt64) -> UInt64 { random.next() % count }
        var (presence, model) = (Presence(), Model())
        var now = Timestamp(seconds: 1_000_000)
        for _ in 0..<20_000 {
            // Now and then nothing happens for longer than any poll is good for.
            if draw(50) == 0 { now = now + .milliseconds(Int(draw(draw(20) == 0 ? 60_000 : 900))) }
            let ticket = Ticket(lane: Int(draw(2)), number: 1 + draw(3_000))
            let end = (now + .seconds(30)).microseconds / 1_000_000 + 1
            switch draw(10) {
            case 0:
                presence.forget(ticket)
                model.ends[ticket] = nil
            case 1:
                #expect(presence.prolong(ticket, at: now, lease: .seconds(30)) == (model.ends[ticket] != nil))
                if model.ends[ticket] != nil { _ = model.polled(ticket, until: end) }
            case 2:
                let gone = presence.lapsed(at: now)
                #expect(Set(gone) == model.lapsed(at: now.microseconds / 1_000_000) && Set(gone).count == gone.count)
            default: #expect(presence.polled(ticket, at: now, lease: .seconds(30)) == model.polled(ticket, until: end))
            }
        }
        #expect(Set(presence.lapsed(at: now + .seconds(60))) == Set(model.ends.keys) && presence.nextLapse == nil)
    }

    @Test func aPlaceIsHeldUntilTheLastHolderGoes() {
        var presence = Presence()
        let ticket = Ticket(lane: 1, number: 70_000)
        #expect(presence.opened(ticket) && !presence.opened(ticket) && presence.holds(ticket))
        #expect(!presence.closed(ticket) && presence.holds(ticket))
        #expect(presence.closed(ticket) && !presence.holds(ticket) && !presence.closed(ticket))
        _ = presence.opened(ticket)
        presence.forget(ticket)
        #expect(presence.tickets.isEmpty && !presence.closed(ticket))
    }
}
