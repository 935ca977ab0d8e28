/// One lane's part of a line.
struct Lane: Sendable, Equatable {
    /// Who waits. The rank in here is the place in this lane.
    var waiting = TicketSet()
    /// Who of them is out of sight.
    var absent = TicketSet()
    /// Who of the absent the line waits for, because a restart has disconnected them.
    var settling = TicketSet()
    /// The number that the next one to join gets.
    var next: UInt64 = 1
    /// Stride scheduling: the turn at which the first in this lane is due.
    var pass: Int64 = 0

    var presentCount: Int { waiting.count - absent.count }
    /// Whether anybody in it has a claim to a turn: only then does the lane accrue its share.
    var isActive: Bool { presentCount > 0 || !settling.isEmpty }

    /// From the first who waits to the last, in a lane of this number.
    func span(lane: Int) -> TicketRange? {
        guard let first = waiting.select(0), let last = waiting.select(waiting.count - 1) else { return nil }
        return TicketRange(first: Ticket(lane: lane, number: first), count: last - first + 1)
    }

    /// The first who waits and is there.
    var firstPresent: UInt64? { presentCount == 0 ? nil : absent.isEmpty ? waiting.select(0) : waiting.first(notIn: absent) }

    /// The first who waits and is there, or `settling`, whom the line waits for, where that one stands ahead.
    func first(or settling: UInt64?) -> UInt64? {
        guard let settling else { return firstPresent }
        return firstPresent.map { min($0, settling) } ?? settling
    }
}

/// Which lane is next: strict lanes in their order, the others by stride scheduling (Waldspurger and Weihl, 1995).
///
/// Each lane that has a share has a stride, inverse to it; whoever is k-th in a lane is due at turn
/// `pass + k × stride`, and the smallest turn is next. So how many of another lane go ahead of somebody is a division,
/// and a position is exact without playing the line through.
struct LaneSchedule: Sendable, Equatable {
    private static let scale: Int64 = 1 << 20
    /// nil: strict. Index 0 is the general lane.
    private let strides: [Int64?]

    init(_ priorityLanes: [PriorityLane]) {
        let shared = priorityLanes.filter { !$0.isStrict }.reduce(0) { $0 + $1.sharePercent }
        strides =
            [LaneSchedule.stride(max(1, 100 - shared))] + priorityLanes.map { $0.isStrict ? nil : LaneSchedule.stride($0.sharePercent) }
    }

    private static func stride(_ share: Int) -> Int64 { scale * 100 / Int64(share) }

    var laneCount: Int { strides.count }

    func stride(_ lane: Int) -> Int64 { lane < strides.count ? strides[lane] ?? 0 : LaneSchedule.scale * 100 }

    /// Whether the lane has a share, and not strictly all turns.
    func isShared(_ lane: Int) -> Bool { !isStrict(lane) }

    private func isStrict(_ lane: Int) -> Bool { lane < strides.count && strides[lane] == nil }

    /// Favoured lanes first: 1, 2, … and the general lane last.
    private static func order(_ lane: Int) -> Int { lane == 0 ? .max : lane }

    /// Whether the first of `a` goes before the first of `b`.
    func precedes(_ a: Int, _ b: Int, _ lanes: [Lane]) -> Bool {
        if isStrict(a) || isStrict(b) {
            guard isStrict(a), isStrict(b) else { return isStrict(a) }
            return LaneSchedule.order(a) < LaneSchedule.order(b)
        }
        return (lanes[a].pass, LaneSchedule.order(a)) < (lanes[b].pass, LaneSchedule.order(b))
    }

    /// How many of `other` go before the one who has `rank` people of `lane` in front.
    func ahead(of lane: Int, rank: Int, from other: Int, _ lanes: [Lane]) -> Int {
        let waiting = lanes[other].waiting.count
        if waiting == 0 { return 0 }
        if isStrict(lane) || isStrict(other) {
            guard isStrict(lane), isStrict(other) else { return isStrict(other) ? waiting : 0 }
            return LaneSchedule.order(other) < LaneSchedule.order(lane) ? waiting : 0
        }
        let turn = lanes[lane].pass + Int64(rank) * stride(lane)
        // Turns before this one; an equal turn goes to the favoured lane.
        let limit = LaneSchedule.order(other) < LaneSchedule.order(lane) ? turn : turn - 1
        guard limit >= lanes[other].pass else { return 0 }
        return min(waiting, Int((limit - lanes[other].pass) / stride(other)) + 1)
    }
}
