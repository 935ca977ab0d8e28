import QueueEngine
import Foundation
import Testing
import TestSupport

@Suite struct TicketSetTests {
    @Test func agreesWithASortedArray() {
        var random = SeededRandom(seed: TestSeed.value)
        var set = TicketSet()
        var naive: [UInt64] = []
        for step in 0..<4_000 {
            let number = UInt64.random(in: 1...3_000, using: &random) + UInt64(step / 2)
            let index = naive.firstIndex { $0 >= number } ?? naive.count
            let isThere = index < naive.count && naive[index] == number
            if random.chance(60) {
                let inserted = set.insert(number)
                #expect(inserted == !isThere)
                if !isThere { naive.insert(number, at: index) }
            } else {
                let removed = set.remove(number)
                #expect(removed == isThere)
                if isThere { naive.remove(at: index) }
            }
            #expect(set.count == naive.count)
            let probe = UInt64.random(in: 0...5_500, using: &random)
            #expect(set.contains(probe) == naive.contains(probe))
            #expect(set.rank(probe) == naive.prefix { $0 < probe }.count)
            let place = Int.random(in: 0...max(1, naive.count), using: &random)
            #expect(set.select(place) == (place < naive.count ? naive[place] : nil))
        }
        var members: [UInt64] = []
        set.forEach { members.append($0) }
        #expect(members == naive)
    }

    /// Sanitizers keep more beside every allocation.
    @Test(.disabled(if: ProcessInfo.processInfo.environment["SANITIZED"] != nil)) func aMillionTakesTwoHundredKilobytes() {
        var set = TicketSet()
        for number in 1...1_000_000 as ClosedRange<UInt64> { set.insert(number) }
        #expect(set.storageBytes <= 200_000)
        #expect(set.rank(1_000_001) == 1_000_000)
        #expect(set.select(499_999) == 500_000)
    }

    @Test func whatWasGivenBackInFrontCanComeAgain() {
        var set = TicketSet()
        for number in 1...20_000 as ClosedRange<UInt64> { set.insert(number) }
        for number in 1...19_000 as ClosedRange<UInt64> { set.remove(number) }
        for number in 20_001...60_000 as ClosedRange<UInt64> { set.insert(number) }
        let inserted = set.insert(7)
        #expect(inserted)
        #expect(set.rank(19_001) == 1)
        #expect(set.select(0) == 7)
    }
}
