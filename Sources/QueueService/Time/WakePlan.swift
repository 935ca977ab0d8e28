import HeapModule
import QueueEngine

/// When each queue wants to be woken, the earliest first: finding who is due costs nothing for those who are not.
struct WakePlan {
    private struct Entry: Comparable {
        let at: Timestamp
        let queue: QueueID
        static func < (a: Entry, b: Entry) -> Bool { (a.at, a.queue) < (b.at, b.queue) }
    }

    private var planned: [QueueID: Timestamp] = [:]
    /// Entries that are not as planned any more are skipped when their time comes.
    private var heap = Heap<Entry>()

    /// What the clock was asked for and has not come yet, the latest first: it is asked again only for what is earlier. A
    /// clock forgets nothing, so a deadline in a month must not be asked for anew with each that comes before it.
    private var alarms: [Timestamp] = []

    var count: Int { planned.count }

    /// Wakes the queue at `moment` in place of whatever was planned; nil: not at all.
    mutating func plan(_ queue: QueueID, at moment: Timestamp?) {
        guard planned[queue] != moment else { return }
        planned[queue] = moment
        guard let moment else { return }
        heap.insert(Entry(at: moment, queue: queue))
        if heap.count > 2 * planned.count + 64 { heap = Heap(planned.map { Entry(at: $0.value, queue: $0.key) }) }
    }

    /// The earliest moment that is planned.
    mutating func next() -> Timestamp? {
        while let first = heap.min, planned[first.queue] != first.at { heap.removeMin() }
        return heap.min?.at
    }

    /// The moment for which the clock is to be asked now; nil where it was asked for one that is early enough.
    mutating func nextAlarm(at now: Timestamp) -> Timestamp? {
        guard let moment = next() else { return nil }
        while let last = alarms.last, last < now { alarms.removeLast() }
        if let last = alarms.last, last <= moment { return nil }
        alarms.append(moment)
        return moment
    }

    /// The clock fired the alarm for `moment`.
    mutating func alarmFired(_ moment: Timestamp) { alarms.removeAll { $0 == moment } }

    /// Takes the queues that are due at `now`, the earliest first.
    mutating func takeDue(at now: Timestamp) -> [QueueID] {
        var due: [QueueID] = []
        while let moment = next(), moment <= now {
            let queue = heap.removeMin().queue
            planned[queue] = nil
            due.append(queue)
        }
        return due
    }
}
