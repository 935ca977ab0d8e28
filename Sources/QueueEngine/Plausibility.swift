import HashTreeCollections

// What is stored may have been edited by hand, restored in part or written by another version. Whether a line can be made of it is found
// out before: arithmetic on it must not end the process, nor a walk over it take for ever.

extension QueueImage {
    /// Whether a line can be made of it.
    public var isConsistent: Bool {
        guard configuration.isPossible, head <= .mostEvents, counters.isPossible(lanes: configuration.priorityLanes.count + 1) else {
            return false
        }
        guard lastEventAt.isPossible, unseenSince?.isPossible ?? true else { return false }
        guard [admissions, departures, turnovers].joined().allSatisfy(\.isPossible) else { return false }
        func isGiven(_ ticket: Ticket) -> Bool { ticket.lane < counters.next.count && ticket.number < counters.next[ticket.lane] }
        guard waiting.allSatisfy({ isGiven($0.ticket) && $0.absentSince?.isPossible ?? true }), hasRoomForWaiting else { return false }
        let inside = Set(admitted.map(\.ticket))
        return admitted.allSatisfy { isGiven($0.ticket) && $0.until.isPossibleEnd } && !waiting.contains { inside.contains($0.ticket) }
    }

    /// Whether those who wait in a lane, and who joins it next, lie within what a set of bits has room for.
    private var hasRoomForWaiting: Bool {
        var least: [Int: UInt64] = [:]
        for (ticket, _) in waiting { least[ticket.lane] = min(least[ticket.lane] ?? .max, ticket.number) }
        return least.allSatisfy { lane, number in counters.next[lane] - number < 1 << 33 }
    }
}

extension QueueCounters {
    fileprivate func isPossible(lanes: Int) -> Bool {
        guard next.count <= lanes, pass.count == next.count, watchedSince.map(\.isPossible) ?? true else { return false }
        guard next.allSatisfy({ (1...Ticket.mostNumber).contains($0) }), pass.allSatisfy({ $0.magnitude < 1 << 60 }) else { return false }
        guard anchor >= 0, anchor / 1_000 <= Timestamp.latestEvent.microseconds else { return false }
        return (losses ?? []).allSatisfy { $0.since.isPossible && $0.until.isPossibleEnd } && (losses?.count ?? 0) <= Loss.limit
    }
}

extension QueueConfiguration {
    /// Whether each number is one that it can be set to.
    public var isPossible: Bool {
        let names = Set(priorityLanes.map(\.name))
        return (0...10_000_000).contains(maxConcurrentUsers) && (0...1_000_000).contains(releaseRatePerMinute)
            && (0...86_400).contains(graceSeconds) && (0...604_800).contains(admissionTTLSeconds) && (0...600).contains(settleSeconds)
            && (0...100_000_000).contains(maxWaiting ?? 0) && (opensAt?.isOfCalendar ?? true) && (closesAt?.isOfCalendar ?? true)
            && priorityLanes.count <= 8 && names.count == priorityLanes.count
            && priorityLanes.allSatisfy { (1...100).contains($0.sharePercent) }
    }
}

extension QueueState {
    /// Whether the event can be the next one. One that this program has decided always can.
    public func accepts(_ event: QueueEvent) -> Bool {
        guard event.seq == head + 1, event.seq <= .mostEvents, event.at >= lastEventAt, event.at.isPossible else { return false }
        switch event.change {
        case .configured(let configuration): return configuration.isPossible
        case .opened, .resumed, .paused, .closed, .everyoneDisconnected, .announced: return head > 0
        case .joined(let ticket):
            return ticket.lane < lanes.count && ticket.number == lanes[ticket.lane].next && ticket.number < Ticket.mostNumber
        case .connected(let arrivals):
            return arrivals.allSatisfy { accepts($0.range) && ($0.since.map { $0 <= .latestEvent } ?? true) }
        case .disconnected(let ranges): return ranges.allSatisfy(accepts)
        case .lost(let ranges, let since, let until):
            return since.isPossible && since <= event.at && until.isPossibleEnd && ranges.allSatisfy(accepts)
        case .admitted(let ticket, let until): return isWaiting(ticket) && until.isPossibleEnd
        case .completed(let ticket): return admitted[ticket] != nil
        case .left(let ticket), .expired(let ticket, _): return isWaiting(ticket) || admitted[ticket] != nil
        }
    }

    /// Tickets that were given.
    private func accepts(_ range: TicketRange) -> Bool {
        guard range.first.lane < lanes.count, range.first.number > 0 else { return false }
        let next = lanes[range.first.lane].next
        return range.first.number < next && range.count <= next - range.first.number
    }
}

extension Ticket {
    /// A thousand joins a second for a million years.
    fileprivate static let mostNumber: UInt64 = 1 << 55
}

extension UInt64 {
    /// Of the same order; SQL's whole numbers have room for more.
    fileprivate static let mostEvents: UInt64 = 1 << 60
}

extension Timestamp {
    fileprivate var isPossible: Bool { self >= .distantPast && self <= .latestEvent }
    /// A moment that was reckoned from a possible one.
    fileprivate var isPossibleEnd: Bool { self >= .distantPast && self <= .latestEvent + .seconds(1_000_000) }
    /// Any of RFC 3339.
    fileprivate var isOfCalendar: Bool { microseconds >= -62_135_596_800_000_000 && microseconds <= 253_402_300_799_999_999 }
}
