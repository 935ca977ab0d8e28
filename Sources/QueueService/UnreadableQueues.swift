import QueueEngine

/// Queues whose rows contradict each other, because somebody has edited them, say. To read one may be to read a million rows, so
/// after each failure it is not read for a while, whoever asks for it (`QueueService.retryDelay`).
struct UnreadableQueues {
    /// Beyond it an arbitrary one is forgotten, and read again when it is asked for.
    private static let limit = 1_000

    private var pauses: [QueueID: (failures: Int, until: Timestamp)] = [:]

    func isPaused(_ queue: QueueID, at now: Timestamp) -> Bool { pauses[queue].map { now < $0.until } ?? false }

    var all: [QueueID] { pauses.keys.sorted() }

    /// Those that may be read again.
    func due(at now: Timestamp) -> [QueueID] { all.filter { !isPaused($0, at: now) } }

    mutating func insert(_ queue: QueueID, at now: Timestamp) {
        let failures = (pauses[queue]?.failures ?? 0) + 1
        if pauses.count >= UnreadableQueues.limit, pauses[queue] == nil { pauses.remove(at: pauses.startIndex) }
        pauses[queue] = (failures, now + QueueService.retryDelay(afterFailures: failures))
    }

    /// It can be read again.
    mutating func remove(_ queue: QueueID) { pauses[queue] = nil }
}

extension StoreError {
    static let contradiction = StoreError.corrupt("the rows of a queue contradict each other")
}
