import DequeModule
import EventLoop

/// Requests that wait for a connection, by lane and in the order in which they came.
struct WaitingRequests {
    struct Waiter {
        let serial: Int
        let lane: PostgresLane
        /// `EventLoop.now` when it began to wait.
        let since: UInt64
        let request: PostgresConnection.Request
        let timer: TimerID
    }

    private var lanes = [Deque<Waiter>](repeating: [], count: PostgresLane.allCases.count)
    private var nextSerial = 0
    /// Whose turn it was last.
    private var wasJoin = false

    var count: Int { lanes.reduce(0) { $0 + $1.count } }
    func count(in lane: PostgresLane) -> Int { lanes[lane.rawValue].count }

    /// - Parameter makeTimer: is given a number that names the request here.
    mutating func append(_ request: PostgresConnection.Request, _ lane: PostgresLane, at now: UInt64, _ makeTimer: (Int) -> TimerID) {
        let serial = nextSerial
        nextSerial += 1
        lanes[lane.rawValue].append(Waiter(serial: serial, lane: lane, since: now, request: request, timer: makeTimer(serial)))
    }

    /// Nil where it does not wait any more.
    mutating func remove(_ serial: Int, _ lane: PostgresLane) -> PostgresConnection.Request? {
        guard let index = lanes[lane.rawValue].firstIndex(where: { $0.serial == serial }) else { return nil }
        return lanes[lane.rawValue].remove(at: index).request
    }

    /// A commit before all others. Of the others a join and something else in turn, and of that the one that has waited longest.
    mutating func popNext(where isAdmitted: (PostgresLane) -> Bool) -> Waiter? {
        func head(_ lane: PostgresLane) -> Waiter? { isAdmitted(lane) ? lanes[lane.rawValue].first : nil }
        let other = [head(.lookups), head(.lists)].compactMap { $0 }.min { $0.serial < $1.serial }
        guard let next = head(.commits) ?? (wasJoin ? other ?? head(.joins) : head(.joins) ?? other) else { return nil }
        if next.lane != .commits { wasJoin = next.lane == .joins }
        lanes[next.lane.rawValue].removeFirst()
        return next
    }

    mutating func removeAll() -> [Waiter] {
        defer { lanes = lanes.map { _ in [] } }
        return lanes.flatMap { $0 }
    }
}
