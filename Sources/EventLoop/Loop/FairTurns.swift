import DequeModule

/// Shares out a loop's turns among the accounts that its sources are charged to, so that who is loud waits for itself alone.
///
/// Stochastic fair queueing (McKenney, "Stochastic Fairness Queueing", 1990) of processor time: a hash spreads accounts over
/// rows, each row may use so much of a turn, and rows with more to do go on one after the other. Another hash is drawn whenever
/// nobody waits, so that who shares a row with a loud account does not share it for long.
///
/// Knows nothing of sockets: it orders the tags of sources, and is told what each of them took.
struct FairTurns {
    private struct Row {
        var waiting = Deque<UInt64>()
        /// Nanoseconds of its part that have been used: while somebody waits in it since its part began, otherwise in `turn`.
        var spent: UInt64 = 0
        var turn: UInt64 = 0
        var isListed = false
        /// Most that have waited since it was empty.
        var peak = 0
    }

    /// What a row may use before the others have their part, in nanoseconds. By how much it exceeds that, which is what one source
    /// does at once, its next part is smaller.
    static let rowNanoseconds: UInt64 = 250_000
    /// What all may use of a turn as soon as they are ready; and what all may use, those who waited included.
    static let promptNanoseconds: UInt64 = 1_000_000
    static let turnNanoseconds: UInt64 = 2_000_000
    private static let rowBits = 10
    /// Room for so many is kept by a row that is empty.
    private static let keptRoom = 64

    private var rows = [Row](repeating: Row(), count: 1 << FairTurns.rowBits)
    /// Those in which somebody waits, in the order in which they go on.
    private var listed = Deque<Int>()
    private var turn: UInt64 = 0
    private var spent: UInt64 = 0
    /// Listed rows that have used up a part in this turn.
    private var passed = 0
    private var seed: UInt64

    init(seed: UInt64 = .random(in: 0...UInt64.max)) { self.seed = seed }

    var someoneWaits: Bool { !listed.isEmpty }

    mutating func begin() {
        turn += 1
        (spent, passed) = (0, 0)
        if listed.isEmpty { seed = seed &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407 }
    }

    func row(of account: UInt64) -> Int {
        // Multiplied twice: what differs in few bits is to differ in the highest ones (Knuth, TAOCP 3, §6.4).
        let mixed = (account ^ seed) &* 0x9E37_79B9_7F4A_7C15
        return Int(truncatingIfNeeded: ((mixed ^ mixed >> 32) &* 0xD6E8_FEB8_6659_FD93) >> UInt64(64 - FairTurns.rowBits))
    }

    /// Whether a source of this row that is ready now need not wait.
    func isPrompt(_ row: Int) -> Bool {
        spent < FairTurns.promptNanoseconds && rows[row].waiting.isEmpty && spentBy(row) < FairTurns.rowNanoseconds
    }

    mutating func charge(_ nanoseconds: UInt64, to row: Int) {
        rows[row].spent = min(spentBy(row) + nanoseconds, FairTurns.turnNanoseconds)
        rows[row].turn = turn
        spent += nanoseconds
    }

    /// - Parameter source: which does not wait already.
    mutating func wait(_ source: UInt64, in row: Int) {
        rows[row].waiting.append(source)
        rows[row].peak = max(rows[row].peak, rows[row].waiting.count)
        guard !rows[row].isListed else { return }
        rows[row].spent = spentBy(row)
        rows[row].isListed = true
        listed.append(row)
    }

    /// Takes the next source whose turn it is; nil: the others wait for another turn.
    mutating func next() -> (source: UInt64, row: Int)? {
        while spent < FairTurns.turnNanoseconds, passed < listed.count, let row = listed.first {
            if spentBy(row) >= FairTurns.rowNanoseconds {
                rows[row].spent -= FairTurns.rowNanoseconds
                listed.removeFirst()
                listed.append(row)
                passed += 1
            } else if let source = rows[row].waiting.popFirst() {
                return (source, row)
            } else {
                listed.removeFirst()
                rows[row].isListed = false
                if rows[row].peak > FairTurns.keptRoom { rows[row].waiting = [] }
                rows[row].peak = 0
            }
        }
        return nil
    }

    private func spentBy(_ row: Int) -> UInt64 { rows[row].isListed || rows[row].turn == turn ? rows[row].spent : 0 }
}
