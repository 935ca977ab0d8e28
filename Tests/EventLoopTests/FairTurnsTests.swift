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

    /// Turns in which each of the accounts has a row of its own.
    private static func turns(apart accounts: [UInt64]) -> FairTurns {
        while true {
            let turns = FairTurns()
            if Set(accounts.map { turns.row(of: $0) }).count == accounts.count { return turns }
        }
    }

    /// Serves turn after turn. Returns what each load used of each turn, in nanoseconds.
    private static func serve(_ loads: [Load], turns count: Int) -> [[UInt64]] {
        var turns = turns(apart: loads.map(\.account))
        turns.begin()
        for (index, load) in loads.enumerated() {
            for number in 0..<load.sources { turns.wait(UInt64(index) << 32 | UInt64(number), in: turns.row(of: load.account)) }
        }
        return (0..<count).map { _ in
            var used = [UInt64](repeating: 0, count: loads.count)
            turns.begin()
            turns.beginWaiting()
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
        let turns = FairTurnsTests.serve([loud, quiet], turns: 100)
        #expect(turns.allSatisfy { $0[1] > 0 })
        #expect(turns.allSatisfy { $0[0] + $0[1] < FairTurns.waitingNanoseconds + nanoseconds })
    }

    /// More loud accounts than a turn has room for are served one after the other, and none twice before all have been.
    @Test func accountsThatAreAllLoudHaveTheSame() {
        let loads = (1...30).map { Load(account: UInt64($0) << 24, sources: $0 * $0, nanoseconds: UInt64($0) * 5_000) }
        let turns = FairTurnsTests.serve(loads, turns: 1_000)
        let used = loads.indices.map { index in turns.reduce(0) { $0 + $1[index] } }
        #expect(Double(used.max()!) < 1.05 * Double(used.min()!))
        #expect(turns.allSatisfy { $0.reduce(0, +) < FairTurns.waitingNanoseconds + 150_000 })
    }

    /// Sources that wait and go on at random: each is served once for each time that it waited, and in the order of its account.
    @Test func nobodyIsForgotten() {
        var random = SeededRandom(seed: TestSeed.value)
        var turns = FairTurns(seed: random.next())
        var accounts: [UInt64: UInt64] = [:]
        var waiting: [UInt64: [UInt64]] = [:]
        for turn in 0..<2_000 {
            turns.begin()
            if turn < 1_500 {
                for _ in 0..<Int(random.next() % 40) {
                    let (source, account) = (UInt64(accounts.count), random.next() % 50)
                    turns.wait(source, in: turns.row(of: account))
                    accounts[source] = account
                    waiting[account, default: []].append(source)
                }
            }
            turns.beginWaiting()
            while let (source, row) = turns.next() {
                let account = accounts[source]!
                #expect(waiting[account]?.first == source)
                #expect(turns.row(of: account) == row)
                waiting[account]?.removeFirst()
                turns.charge(random.next() % 200_000, to: row)
            }
            if random.next() % 10 == 0 { turns.redraw(seed: random.next()) { accounts[$0] } }
        }
        #expect(waiting.values.allSatisfy(\.isEmpty) && !turns.hasWaiting)
    }

    /// A source that becomes ready is served at once as long as there is time and none of its row waits.
    @Test func promptSourcesAreServedAtOnce() {
        var turns = FairTurnsTests.turns(apart: [7, 8, 9])
        turns.begin()
        let row = turns.row(of: 7)
        #expect(turns.isPrompt(row))
        turns.charge(FairTurns.quantum, to: row)
        #expect(!turns.isPrompt(row))
        turns.begin()
        turns.beginPrompt()
        #expect(turns.isPrompt(turns.row(of: 7)))
        turns.wait(1, in: turns.row(of: 7))
        #expect(!turns.isPrompt(turns.row(of: 7)))
        #expect(turns.next()?.source == 1)
        turns.charge(FairTurns.promptNanoseconds, to: turns.row(of: 8))
        #expect(!turns.isPrompt(turns.row(of: 9)))
    }

    /// What an account's jobs have used of a turn, its sources have not; those of others have all of theirs.
    @Test func jobsAreChargedToTheirAccount() {
        var turns = FairTurnsTests.turns(apart: [7, 8])
        turns.begin()
        turns.charge(job: 3 * FairTurns.promptNanoseconds, to: turns.row(of: 7))
        turns.beginPrompt()
        #expect(!turns.isPrompt(turns.row(of: 7)))
        #expect(turns.isPrompt(turns.row(of: 8)))
    }

    /// Sources that become ready turn after turn use none of the time of those that wait, however long one of them takes.
    @Test func promptSourcesTakeNothingFromThoseThatWait() {
        var turns = FairTurnsTests.turns(apart: [1, 2])
        turns.begin()
        turns.wait(1, in: turns.row(of: 1))
        for _ in 0..<10 {
            turns.begin()
            turns.beginPrompt()
            turns.charge(5_000_000, to: turns.row(of: 2))
            turns.beginWaiting()
            #expect(turns.next()?.source == 1)
            turns.charge(10_000, to: turns.row(of: 1))
            turns.wait(1, in: turns.row(of: 1))
        }
    }
}
