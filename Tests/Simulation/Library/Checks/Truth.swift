import DequeModule
import QueueEngine
import QueueService

/// The one true history of every queue, as the store commits it.
struct Truth {
    /// What can be compared at every step.
    struct Counts: Equatable {
        let head: UInt64
        let waiting: Int
        let absent: Int
        let admitted: Int
    }

    private struct Entry {
        var line = Line()
        var counts = Deque<Counts>()
        var isWatched = false
        var isActive = true
    }

    private var entries: [QueueID: Entry] = [:]

    /// How many of the last events each queue's counts are kept for.
    private static let depth = 2_000

    mutating func apply(_ event: QueueEvent, to record: QueueRecord) -> [(Finding.Kind, String)] {
        let problems = entries[record.id, default: Entry()].line.apply(event)
        let line = entries[record.id]!.line
        let counts = Counts(
            head: line.head, waiting: line.waiting.count, absent: line.waiting.count - line.presentCount, admitted: line.admitted.count)
        entries[record.id]!.counts.append(counts)
        if entries[record.id]!.counts.count > Truth.depth { entries[record.id]!.counts.removeFirst() }
        return problems
    }

    func counts(of id: QueueID, at head: UInt64) -> Counts? {
        guard let entry = entries[id], let first = entry.counts.first, head >= first.head, head - first.head < entry.counts.count else {
            return nil
        }
        return entry.counts[Int(head - first.head)]
    }

    func line(_ id: QueueID) -> Line? { entries[id]?.line }

    mutating func nextDue(of id: QueueID) -> (at: Timestamp, what: String)? { entries[id]?.line.nextDue() }

    func isWatched(_ id: QueueID) -> Bool { entries[id]?.isWatched ?? true }
    mutating func watch(_ id: QueueID, _ isWatched: Bool) { entries[id]?.isWatched = isWatched }

    func isActive(_ id: QueueID) -> Bool { entries[id]?.isActive ?? false }
    mutating func deleted(_ id: QueueID) { entries[id]?.isActive = false }

    /// Nobody waits or is inside anywhere.
    var isEmpty: Bool { entries.values.allSatisfy { $0.line.isEmpty || !$0.isActive } }
}
