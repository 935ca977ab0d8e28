import QueueEngine

/// Queues whose rows make no sense, because somebody has edited them, say. To read one may be to read a million rows, so after
/// each failure it is left alone for a while, whoever asks for it: a second at first, and twice as long each time.
struct UnreadableQueues {
    /// Of more than this some are read again at once.
    private static let limit = 1_000
    /// A minute, about: an operator who has mended a queue does not wait long.
    private static let mostDoublings = 6

    private var pauses: [QueueID: (failures: Int, until: Timestamp)] = [:]

    func isPaused(_ queue: QueueID, at now: Timestamp) -> Bool { pauses[queue].map { now < $0.until } ?? false }

    mutating func insert(_ queue: QueueID, at now: Timestamp) {
        let failures = (pauses[queue]?.failures ?? 0) + 1
        if pauses.count >= UnreadableQueues.limit, pauses[queue] == nil { pauses.remove(at: pauses.startIndex) }
        pauses[queue] = (failures, now + .seconds(1 << min(failures - 1, UnreadableQueues.mostDoublings)))
    }

    /// It can be read again.
    mutating func remove(_ queue: QueueID) { pauses[queue] = nil }
}

extension StoreError {
    static let contradiction = StoreError.corrupt("the rows of a queue contradict each other")
}
