import TestSupport
import Testing

@testable import EventLoop

@Suite struct FairTurnsTests {
    /// An account whose sources are always ready, each time for so long.
    private struct Load {
        let account: UInt64
        let sources: Int
        let nanoseconds: UInt64
    }

    /// Serves turn after turn. Returns what each load used of each turn, in nanoseconds; nil where chance gave two of them one row.
    private static func serve(_ loads: [Load], turns count: Int) -> [[UInt64]]? {
        var turns = FairTurns()
        turns.begin()
        guard Set(loads.map { turns.row(of: $0.account) }).count == loads.count else { return nil }
        for (index, load) in loads.enumerated() {
            for number in 0..<load.sources { turns.wait(UInt64(index) << 32 | UInt64(number), in: turns.row(of: load.account)) }
        }
        return (0..<count).map { _ in
            var used = [UInt64](repeating: 0, count: loads.count)
            turns.begin()
            while let (source, row) = turns.next() {
                let index = Int(source >> 32)
                used[index] += loads[index].nanoseconds
                turns.charge(loads[index].nanoseconds, to: row)
                turns.wait(source, in: row)
            }
            return used
        }
    }

    /// However many sources an account has and however long each takes, another one has its part of every turn.
    @Test(arguments: [1, 10, 2_000], [1_000, 50_000, 1_500_000] as [UInt64]) func whoIsLoudTakesNothingFromOthers(
        sources: Int, nanoseconds: UInt64
    ) {
        let loud = Load(account: 1, sources: sources, nanoseconds: nanoseconds)
        let quiet = Load(account: 2, sources: 1, nanoseconds: 20_000)
        guard let turns = FairTurnsTests.serve([loud, quiet], turns: 100) else { return }
        #expect(turns.allSatisfy { $0[1] > 0 })
        #expect(turns.allSatisfy { $0[0] + $0[1] < FairTurns.turnNanoseconds + nanoseconds })
    }

    /// More loud accounts than a turn has room for are served one after the other, and none twice before all have been.
    @Test func accountsThatAreAllLoudHaveTheSame() {
        let loads = (1...30).map { Load(account: UInt64($0) << 24, sources: $0 * $0, nanoseconds: UInt64($0) * 5_000) }
        guard let turns = FairTurnsTests.serve(loads, turns: 1_000) else { return }
        let used = loads.indices.map { index in turns.reduce(0) { $0 + $1[index] } }
        #expect(Double(used.max()!) < 1.05 * Double(used.min()!))
        #expect(turns.allSatisfy { $0.reduce(0, +) < FairTurns.turnNanoseconds + 150_000 })
    }

    /// Sources that wait and go on at random: each is served once for each time that it waited, and in the order of its row.
    @Test func nobodyIsForgotten() {
        var random = SeededRandom(seed: .random(in: 0...UInt64.max))
        var turns = FairTurns(seed: random.next())
        var waiting: [Int: [UInt64]] = [:]
        var next: UInt64 = 0
        for turn in 0..<2_000 {
            turns.begin()
            if turn < 1_500 {
                for _ in 0..<Int(random.next() % 40) {
                    let row = turns.row(of: random.next() % 50)
                    turns.wait(next, in: row)
                    waiting[row, default: []].append(next)
                    next += 1
                }
            }
            while let (source, row) = turns.next() {
                #expect(waiting[row]?.first == source)
                waiting[row]?.removeFirst()
                turns.charge(random.next() % 200_000, to: row)
            }
        }
        #expect(waiting.values.allSatisfy(\.isEmpty) && !turns.someoneWaits)
    }

    /// Who is ready goes on at once as long as there is room and nobody of its row waits.
    @Test func promptOnesGoOnAtOnce() {
        var turns = FairTurns(seed: 1)
        turns.begin()
        let row = turns.row(of: 7)
        #expect(turns.isPrompt(row))
        turns.charge(FairTurns.rowNanoseconds, to: row)
        #expect(!turns.isPrompt(row))
        turns.begin()
        #expect(turns.isPrompt(turns.row(of: 7)))
        turns.wait(1, in: turns.row(of: 7))
        #expect(!turns.isPrompt(turns.row(of: 7)))
        #expect(turns.next()?.source == 1)
        turns.charge(FairTurns.promptNanoseconds, to: turns.row(of: 8))
        #expect(!turns.isPrompt(turns.row(of: 9)))
    }
}
