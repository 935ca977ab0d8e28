import HeapModule
import QueueEngine

/// Who went out of sight and who came back, as ranges: an instance that ends takes thousands with it, and one that finds
/// nobody else begins with everyone. Where ranges overlap the later one counts.
struct Moves {
    struct Move: Comparable {
        let first: UInt64
        var last: UInt64
        /// nil: in sight.
        let since: Timestamp?
        /// Which event it was.
        let turn: UInt64

        static func < (a: Move, b: Move) -> Bool { a.turn < b.turn }
    }

    private var moves: [Move] = []

    mutating func add(_ ranges: [TicketRange], since: Timestamp?, turn: UInt64) {
        moves += ranges.map { Move(first: $0.first.rawValue, last: $0.first.rawValue + $0.count - 1, since: since, turn: turn) }
    }

    mutating func removeAll() { moves = [] }

    /// What is left of each where later ones lie over it: in ascending order, and none overlaps another.
    var settled: [Move] {
        var coming = moves.sorted { $0.first < $1.first }[...]
        var settled: [Move] = []
        var open = Heap<Move>()
        var position: UInt64 = 0
        while true {
            while let next = coming.first, next.first <= position { open.insert(coming.removeFirst()) }
            while let latest = open.max, latest.last < position { open.removeMax() }
            if let latest = open.max {
                let end = min(latest.last, coming.first.map { $0.first - 1 } ?? .max)
                if let before = settled.last, before.turn == latest.turn, before.last + 1 == position {
                    settled[settled.count - 1].last = end
                } else {
                    settled.append(Move(first: position, last: end, since: latest.since, turn: latest.turn))
                }
                position = end + 1
            } else {
                guard let next = coming.first else { return settled }
                position = next.first
            }
        }
    }
}
