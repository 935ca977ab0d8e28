import QueueEngine
import TestSupport
import Testing

@testable import Storage

@Suite struct MovesTests {
    /// Against what a look at each ticket finds.
    @Test func theLaterOneCounts() {
        var random = SeededRandom(seed: TestSeed.value)
        for _ in 0..<300 {
            var (moves, expected) = (Moves(), [UInt64: Timestamp?]())
            for turn in 0..<UInt64.random(in: 0...12, using: &random) {
                let since = Bool.random(using: &random) ? nil : Timestamp(microseconds: Int64(turn))
                let ranges = (0..<Int.random(in: 1...3, using: &random)).map { _ in
                    TicketRange(
                        first: Ticket(lane: Int.random(in: 0...1, using: &random), number: .random(in: 1...40, using: &random)),
                        count: .random(in: 1...12, using: &random))
                }
                moves.add(ranges, since: since, turn: turn)
                for ticket in ranges.flatMap(\.tickets) { expected[ticket.rawValue] = .some(since) }
            }
            let settled = moves.settled
            let all = settled.flatMap { move in (move.first...move.last).map { ($0, move.since) } }
            #expect(Dictionary(all, uniquingKeysWith: { first, _ in first }) == expected)
            #expect(all.count == expected.count, "some overlap")
            #expect(zip(settled, settled.dropFirst()).allSatisfy { $0.last < $1.first })
        }
    }

    /// However many they are, nobody is looked at alone.
    @Test func everyoneIsOneRange() {
        var moves = Moves()
        moves.add([TicketRange(first: Ticket(lane: 0, number: 1), count: 1 << 50)], since: .distantPast, turn: 0)
        moves.add([TicketRange(first: Ticket(lane: 0, number: 1 << 20), count: 1)], since: nil, turn: 1)
        #expect(moves.settled.count == 3)
    }
}
