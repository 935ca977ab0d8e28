import CLinux

/// Something with a descriptor that a loop watches. Confined to that loop.
///
/// A class, not a protocol: the loop calls it for every readiness report, through one pointer.
open class Source {
    // Strong, and so never counted on the way: the loop lets go of its sources when it ends.
    public let loop: EventLoop
    /// Told apart from an older source with the same descriptor number: a report that was fetched before the old one
    /// was closed must not reach the new one.
    fileprivate(set) var generation: UInt32 = 0

    let number: Int32

    init(loop: EventLoop, number: Int32) {
        self.loop = loop
        self.number = number
    }

    /// The loop's second at which time is up; 0: never. The second that it is counted from may be nearly over, and the
    /// look at all of them comes once a second: time is up at most a second early, and on an idle loop one late.
    public var deadline: UInt32 {
        get { isGone ? 0 : loop.deadline(of: number) }
        // The number of one that is gone may be another's by now.
        set { if !isGone { loop.setDeadline(newValue, of: number) } }
    }

    /// The loop knows it.
    var isEntered: Bool { generation != 0 && !isGone }

    private static let gone = UInt32.max
    private var isGone: Bool { generation == Source.gone }

    /// The descriptor is closed next; the loop has forgotten this, or never knew it.
    fileprivate func leave() { generation = Source.gone }

    /// The loop could not watch it: it was never entered.
    fileprivate func stayOut() { generation = 0 }

    /// Ends what was never entered into a loop.
    func abandon() {
        deadline = 0
        leave()
    }

    /// Whom the loop's time that this takes is charged to. nil: it serves everybody, is bounded by itself and never waits for its turn.
    var account: UInt64? { ownAccount }
    /// An account that no other source has.
    var ownAccount: UInt64 { 1 << 63 | UInt64(number) }

    func ready(_ readiness: Readiness) {}
    /// `deadline` has come, and is taken back.
    func timedOut() {}
}

struct Readiness: OptionSet {
    let rawValue: UInt32
    static let readable = Readiness(rawValue: UInt32(CLINUX_IN))
    static let writable = Readiness(rawValue: UInt32(CLINUX_OUT))
    static let peerClosed = Readiness(rawValue: UInt32(CLINUX_RDHUP))
    static let hangup = Readiness(rawValue: UInt32(CLINUX_HUP))
    static let failed = Readiness(rawValue: UInt32(CLINUX_ERR))
    /// None of epoll's: a source that asked for its turn has it.
    static let turn = Readiness(rawValue: 1 << 14)
    /// What an idle stream socket waits for, and what one whose peer reads too slowly.
    static let incoming: Readiness = [.readable, .peerClosed]
    static let incomingAndRoom: Readiness = [.readable, .peerClosed, .writable]
}

/// The sources of a loop, by descriptor number.
struct SourceTable {
    private var slots: [Source?] = []
    /// Beside the sources, because all are looked at once a second: a row of numbers is soon read, a hundred thousand
    /// objects all over the memory are not.
    private var deadlines: [UInt32] = []
    /// The readiness with which sources that wait for their turn are called then; 0: the source does not wait.
    private var pending: [UInt16] = []
    private var generation: UInt32 = 0
    private(set) var count = 0

    /// Enters `source` and returns what epoll is to report for it.
    mutating func insert(_ source: Source) -> UInt64 {
        let index = Int(source.number)
        grow(to: index)
        precondition(slots[index] == nil, "two sources with one descriptor")
        // 0 was never entered, and the last number is gone.
        generation = generation < .max - 1 ? generation + 1 : 1
        source.generation = generation
        slots[index] = source
        count += 1
        return SourceTable.tag(source)
    }

    static func tag(_ source: Source) -> UInt64 { UInt64(source.generation) << 32 | UInt64(source.number) }

    mutating func removeAll() { (slots, deadlines, pending) = ([], [], []) }

    mutating func remove(_ source: Source) {
        clear(source)
        source.leave()
    }

    /// Takes back that `source` was entered.
    mutating func takeBack(_ source: Source) {
        clear(source)
        source.stayOut()
    }

    private mutating func clear(_ source: Source) {
        let index = Int(source.number)
        precondition(slots[index] === source, "not this loop's source")
        slots[index] = nil
        deadlines[index] = 0
        pending[index] = 0
        count -= 1
    }

    func deadline(of number: Int32) -> UInt32 { Int(number) < deadlines.count ? deadlines[Int(number)] : 0 }

    /// Also of a source that is about to be entered.
    mutating func setDeadline(_ second: UInt32, of number: Int32) {
        grow(to: Int(number))
        deadlines[Int(number)] = second
    }

    /// The next source from `number` on whose time is up at `second`; its deadline is taken back. One that waits for its turn may
    /// have bytes that nobody has looked at, and is passed over.
    mutating func popDue(at second: UInt32, from number: inout Int) -> Source? {
        while number < deadlines.count {
            defer { number += 1 }
            guard deadlines[number] != 0, deadlines[number] <= second, pending[number] == 0 else { continue }
            deadlines[number] = 0
            if let source = slots[number] { return source }
        }
        return nil
    }

    /// Whether time is up for a source that has been served; its deadline is taken back then. It may wait again, for more that it has
    /// been sent: only one that does not look at what it has before its turn comes is given that long.
    mutating func takeDeadline(of source: Source, at second: UInt32) -> Bool {
        let index = Int(source.number)
        let asksForTurn = Readiness(rawValue: UInt32(pending[index])).contains(.turn)
        guard deadlines[index] != 0, deadlines[index] <= second, !asksForTurn else { return false }
        deadlines[index] = 0
        return true
    }

    /// Adds to what `source` is called with when it has its turn. False: it waits already.
    mutating func addPending(_ readiness: Readiness, to source: Source) -> Bool {
        let before = pending[Int(source.number)]
        pending[Int(source.number)] = before | UInt16(truncatingIfNeeded: readiness.rawValue)
        return before == 0
    }

    mutating func takePending(_ source: Source) -> Readiness {
        defer { pending[Int(source.number)] = 0 }
        return Readiness(rawValue: UInt32(pending[Int(source.number)]))
    }

    private mutating func grow(to index: Int) {
        guard index >= slots.count else { return }
        slots.append(contentsOf: repeatElement(nil, count: index + 1 - slots.count))
        deadlines.append(contentsOf: repeatElement(0, count: index + 1 - deadlines.count))
        pending.append(contentsOf: repeatElement(0, count: index + 1 - pending.count))
    }

    func find(_ reported: UInt64) -> Source? {
        let index = Int(truncatingIfNeeded: reported & 0xFFFF_FFFF)
        guard index < slots.count, let source = slots[index], source.generation == UInt32(reported >> 32) else { return nil }
        return source
    }

    /// One past the highest descriptor number in use so far.
    var end: Int { slots.count }
    subscript(number: Int) -> Source? { slots[number] }
}
