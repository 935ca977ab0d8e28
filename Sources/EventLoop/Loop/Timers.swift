/// What a timer is cancelled by.
public struct TimerID: Hashable, Sendable {
    let serial: UInt64
}

/// A loop's timers: a binary heap by due time. A cancelled timer stays until it is due and then does nothing.
struct Timers {
    private struct Entry {
        let due: UInt64
        let serial: UInt64
    }

    private var heap: [Entry] = []
    private var actions: [UInt64: () -> Void] = [:]
    private var nextSerial: UInt64 = 1

    /// When the loop must look again, in nanoseconds of the monotonic clock.
    var nextDue: UInt64? { heap.first?.due }

    mutating func add(due: UInt64, _ action: @escaping () -> Void) -> TimerID {
        let entry = Entry(due: due, serial: nextSerial)
        nextSerial += 1
        actions[entry.serial] = action
        heap.append(entry)
        siftUp(heap.count - 1)
        return TimerID(serial: entry.serial)
    }

    mutating func cancel(_ timer: TimerID) { actions[timer.serial] = nil }

    /// The next action that is due, removed; nil where none is.
    mutating func popDue(at now: UInt64) -> (() -> Void)? {
        while let first = heap.first, first.due <= now {
            removeFirst()
            if let action = actions.removeValue(forKey: first.serial) { return action }
        }
        return nil
    }

    private mutating func removeFirst() {
        heap.swapAt(0, heap.count - 1)
        heap.removeLast()
        var parent = 0
        while true {
            var least = parent
            for child in (2 * parent + 1)...(2 * parent + 2) where child < heap.count && precedes(child, least) { least = child }
            if least == parent { return }
            heap.swapAt(parent, least)
            parent = least
        }
    }

    private mutating func siftUp(_ start: Int) {
        var child = start
        while child > 0, precedes(child, (child - 1) / 2) {
            heap.swapAt(child, (child - 1) / 2)
            child = (child - 1) / 2
        }
    }

    private func precedes(_ a: Int, _ b: Int) -> Bool {
        (heap[a].due, heap[a].serial) < (heap[b].due, heap[b].serial)
    }
}
