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
        /// When it is looked at next whether what is due has happened.
        var nextLook: Timestamp?
        var isActive = true

        mutating func apply(_ event: QueueEvent) -> [(Finding.Kind, String)] {
            let problems = line.apply(event)
            let waiting = line.waiting.count
            counts.append(
                Counts(head: line.head, waiting: waiting, absent: waiting - line.presentCount, admitted: line.admitted.count))
            if counts.count > Truth.depth { counts.removeFirst() }
            return problems
        }

        var isOccupied: Bool { isActive && !line.isEmpty }
    }

    private var entries: [QueueID: Entry] = [:]
    /// Queues in which somebody waits or is inside.
    private var occupied: Set<QueueID> = []
    /// Queues in which somebody is, or something happened not long ago.
    private var lively: Set<QueueID> = []

    /// How many of the last events each queue's counts are kept for.
    private static let depth = 2_000

    mutating func apply(_ event: QueueEvent, to record: QueueRecord) -> [(Finding.Kind, String)] {
        let problems = entries[record.id, default: Entry()].apply(event)
        noteOccupied(record.id)
        lively.insert(record.id)
        return problems
    }

    private mutating func noteOccupied(_ id: QueueID) {
        if entries[id]?.isOccupied == true { occupied.insert(id) } else { occupied.remove(id) }
    }

    func counts(of id: QueueID, at head: UInt64) -> Counts? {
        guard let entry = entries[id], let first = entry.counts.first, head >= first.head, head - first.head < entry.counts.count else {
            return nil
        }
        return entry.counts[Int(head - first.head)]
    }

    func line(_ id: QueueID) -> Line? { entries[id]?.line }

    mutating func nextDue(of id: QueueID) -> (at: Timestamp, what: String)? { entries[id]?.line.nextDue() }

    func nextLook(at id: QueueID) -> Timestamp? { entries[id]?.nextLook }
    mutating func planLook(at id: QueueID, _ moment: Timestamp?) { entries[id]?.nextLook = moment }

    /// Something may be wrong with the queue that was not so the last time.
    func isLively(_ id: QueueID) -> Bool { lively.contains(id) }

    /// The queue was looked at: with nobody there and nothing new since `moment` the next looks would see the same.
    mutating func looked(at id: QueueID, quietSince moment: Timestamp) {
        if !occupied.contains(id), entries[id].map({ $0.line.lastEventAt < moment }) ?? true { lively.remove(id) }
    }

    func isActive(_ id: QueueID) -> Bool { entries[id]?.isActive ?? false }
    mutating func deleted(_ id: QueueID) {
        entries[id]?.isActive = false
        noteOccupied(id)
    }

    /// Nobody waits or is inside anywhere.
    var isEmpty: Bool { occupied.isEmpty }
}
