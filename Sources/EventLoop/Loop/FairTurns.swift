import DequeModule

/// Shares out a loop's turns among the accounts that its sources are charged to, so that a loud account keeps only itself waiting.
///
/// Stochastic fair queueing (McKenney, "Stochastic Fairness Queueing", 1990) with deficits (Shreedhar and Varghese, "Efficient Fair
/// Queuing Using Deficit Round Robin", 1995), of the loop's time: a hash spreads accounts over rows, and rows in which sources wait
/// are served one after the other, each for a quantum. `redraw` changes the hash, so that an account does not share a loud one's row
/// for long.
///
/// Knows nothing of sockets and reads no clock: it orders the tags of sources, and is told how long each of them took.
struct FairTurns {
    private struct Row {
        var waiting = Deque<UInt64>()
        /// Nanoseconds used of the quantum: since it began while the row is active, in `turn` otherwise.
        var spent: UInt64 = 0
        var turn: UInt64 = 0
        /// The row is in `active`.
        var isActive = false
        /// Jobs have been charged to the row since it was empty.
        var bringsJobs = false
        /// Most that have waited since it was empty.
        var peak = 0
    }

    /// What a row may use before the next one is served, in nanoseconds. By how much it exceeds that, its next quanta are shorter: its
    /// sources may have begun many jobs in one of them.
    static let quantum: UInt64 = 250_000
    private static let mostDebt: UInt64 = 50_000_000
    /// A source whose row brings jobs is charged no less: it may have begun one, which is charged when it is done.
    private static let leastCharged = quantum / 16
    /// What sources that have just become ready may use of a turn, and what those may use that have waited, in nanoseconds.
    static let promptNanoseconds: UInt64 = 1_000_000
    static let waitingNanoseconds: UInt64 = 2_000_000
    private static let rowBits = 10
    /// A row that is empty keeps room for so many.
    private static let keptRoom = 64

    private var rows = [Row](repeating: Row(), count: 1 << FairTurns.rowBits)
    /// The rows in which sources wait, in the order in which they are served.
    private var active = Deque<Int>()
    private var turn: UInt64 = 0
    /// Nanoseconds used by all: of those that have just become ready, then of those that have waited.
    private var spent: UInt64 = 0
    /// How often in this turn a row has used up a quantum: as often as there are active rows, and the turn is over.
    private var exhausted = 0
    private var seed: UInt64

    init(seed: UInt64 = .random(in: 0...UInt64.max)) { self.seed = seed }

    var hasWaiting: Bool { !active.isEmpty }

    /// Begins a turn, with the jobs that sources have brought: they are done as they come, and charged.
    mutating func begin() {
        turn += 1
        exhausted = 0
    }

    /// Goes on with the sources that have just become ready.
    mutating func beginPrompt() { spent = 0 }

    /// Goes on with the sources that wait, to which `next` leads.
    mutating func beginWaiting() { spent = 0 }

    /// Spreads the accounts in another way, at the end of a turn, and forgives debts.
    ///
    /// - Parameter account: that of a source which waits, so that an account has one row; nil: the source is gone.
    mutating func redraw(seed: UInt64 = .random(in: 0...UInt64.max), account: (UInt64) -> UInt64?) {
        self.seed = seed
        turn += 1
        let waiting = active.flatMap { rows[$0].waiting }
        for row in active { empty(row) }
        for row in rows.indices { rows[row].bringsJobs = false }
        active.removeAll(keepingCapacity: true)
        for source in waiting { if let account = account(source) { wait(source, in: self.row(of: account)) } }
    }

    func row(of account: UInt64) -> Int {
        // Multiplied twice: accounts that differ in few bits are to differ in the highest ones.
        let mixed = (account ^ seed) &* 0x9E37_79B9_7F4A_7C15
        return Int(truncatingIfNeeded: ((mixed ^ mixed >> 32) &* 0xD6E8_FEB8_6659_FD93) >> UInt64(64 - FairTurns.rowBits))
    }

    /// Whether a source of this row that has just become ready may be served at once.
    func isPrompt(_ row: Int) -> Bool {
        spent < FairTurns.promptNanoseconds && rows[row].waiting.isEmpty && spentBy(row) < FairTurns.quantum
    }

    /// Charges what a source took to its row.
    mutating func charge(_ nanoseconds: UInt64, to row: Int) {
        add(rows[row].bringsJobs ? max(nanoseconds, FairTurns.leastCharged) : nanoseconds, to: row)
        spent += nanoseconds
    }

    /// Charges what a job took to the row of the source that brought it.
    mutating func charge(job nanoseconds: UInt64, to row: Int) {
        add(nanoseconds, to: row)
        rows[row].bringsJobs = true
    }

    private mutating func add(_ nanoseconds: UInt64, to row: Int) {
        rows[row].spent = min(spentBy(row) + nanoseconds, FairTurns.mostDebt)
        rows[row].turn = turn
    }

    /// - Parameter source: which does not wait already.
    mutating func wait(_ source: UInt64, in row: Int) {
        rows[row].waiting.append(source)
        rows[row].peak = max(rows[row].peak, rows[row].waiting.count)
        guard !rows[row].isActive else { return }
        rows[row].spent = spentBy(row)
        rows[row].isActive = true
        active.append(row)
    }

    /// Takes the next source to be served; nil: the others wait for another turn.
    mutating func next() -> (source: UInt64, row: Int)? {
        while spent < FairTurns.waitingNanoseconds, exhausted < active.count, let row = active.first {
            if rows[row].spent >= FairTurns.quantum {
                rows[row].spent -= FairTurns.quantum
                active.removeFirst()
                active.append(row)
                exhausted += 1
            } else if let source = rows[row].waiting.popFirst() {
                return (source, row)
            } else {
                active.removeFirst()
                empty(row)
            }
        }
        return nil
    }

    private mutating func empty(_ row: Int) {
        (rows[row].isActive, rows[row].bringsJobs) = (false, false)
        if rows[row].peak > FairTurns.keptRoom { rows[row].waiting = [] } else { rows[row].waiting.removeAll(keepingCapacity: true) }
        rows[row].peak = 0
    }

    private func spentBy(_ row: Int) -> UInt64 { rows[row].isActive || rows[row].turn == turn ? rows[row].spent : 0 }
}
