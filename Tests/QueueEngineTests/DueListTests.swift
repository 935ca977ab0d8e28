import Testing
import TestSupport

@testable import QueueEngine

/// The list of what comes due, against a sorted array.
@Suite struct DueListTests {
    struct Item: Comparable, Sendable {
        let at: Int
        let number: Int
        static func < (a: Item, b: Item) -> Bool { a.at < b.at }
    }

    /// Nearly in order, as time brings them, or in any; `copies` must not notice what becomes of each other.
    @Test(arguments: [0, 3, 100_000]) func isASortedArray(disorder: Int) {
        var random = SeededRandom(seed: TestSeed.value &+ UInt64(disorder))
        var list = DueList<Item>()
        var naive: [Item] = []
        var copies: [(DueList<Item>, [Item])] = []
        for number in 0..<6_000 {
            if random.chance(number < 3_000 ? 25 : 55), !naive.isEmpty {
                if random.chance(10) {
                    let other = Item(at: naive[0].at, number: -number)
                    list.replaceFirst(other)
                    naive[0] = other
                }
                #expect(list.first == naive.removeFirst())
                list.removeFirst()
            } else {
                let item = Item(at: number + Int.random(in: 0...disorder, using: &random), number: number)
                list.insert(item)
                naive.insert(item, at: naive.firstIndex { item < $0 } ?? naive.count)
            }
            #expect(list.first == naive.first)
            if number % 500 == 0 { copies.append((list, naive)) }
        }
        for (list, naive) in copies + [(list, naive)] { #expect(DueListTests.drained(list) == naive) }
    }

    private static func drained(_ list: DueList<Item>) -> [Item] {
        var (list, all) = (list, [Item]())
        while let first = list.first {
            all.append(first)
            list.removeFirst()
        }
        return all
    }
}
