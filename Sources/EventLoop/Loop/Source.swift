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

    func ready(_ readiness: Readiness) {}
    /// Called about once a second with the loop's coarse time in seconds.
    func sweep(at second: UInt32) {}
}

struct Readiness: OptionSet {
    let rawValue: UInt32
    static let readable = Readiness(rawValue: UInt32(CLINUX_IN))
    static let writable = Readiness(rawValue: UInt32(CLINUX_OUT))
    static let peerClosed = Readiness(rawValue: UInt32(CLINUX_RDHUP))
    static let hangup = Readiness(rawValue: UInt32(CLINUX_HUP))
    static let failed = Readiness(rawValue: UInt32(CLINUX_ERR))
    /// What an idle stream socket waits for, and what one whose peer reads too slowly.
    static let incoming: Readiness = [.readable, .peerClosed]
    static let incomingAndRoom: Readiness = [.readable, .peerClosed, .writable]
}

/// The sources of a loop, by descriptor number.
struct SourceTable {
    private var slots: [Source?] = []
    private var generation: UInt32 = 0
    private(set) var count = 0

    /// Enters `source` and returns what epoll is to report for it.
    mutating func insert(_ source: Source) -> UInt64 {
        let index = Int(source.number)
        if index >= slots.count { slots.append(contentsOf: repeatElement(nil, count: index + 1 - slots.count)) }
        precondition(slots[index] == nil, "two sources with one descriptor")
        generation &+= 1
        source.generation = generation
        slots[index] = source
        count += 1
        return SourceTable.tag(source)
    }

    static func tag(_ source: Source) -> UInt64 { UInt64(source.generation) << 32 | UInt64(source.number) }

    mutating func removeAll() { slots = [] }

    mutating func remove(_ source: Source) {
        let index = Int(source.number)
        precondition(slots[index] === source, "not this loop's source")
        slots[index] = nil
        count -= 1
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
