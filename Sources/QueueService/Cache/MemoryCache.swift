import QueueEngine

/// What is read again and again and is not the line itself, by what it was true of.
///
/// A key names the history and the place in the log that its value belongs to, so a value never becomes wrong: what has
/// changed is asked for under another key, and what nobody asks for any more makes room for what somebody does.
public struct CacheKey: Hashable, Sendable {
    public enum Subject: Hashable, Sendable {
        /// A page of the log, from 0 on.
        case page(UInt64)
        /// The mean wait of those who were let in, as of the admission with this `seq`.
        case averageWait(UInt64)
    }

    public let queue: QueueID
    public let epoch: UInt64
    public let subject: Subject
    public init(queue: QueueID, epoch: UInt64, subject: Subject) {
        self.queue = queue
        self.epoch = epoch
        self.subject = subject
    }
}

public enum CacheValue: Hashable, Sendable {
    case page([LogEntry])
    case averageWait(Double?)
}

/// The nearest level: as much as there is room for, what was asked for longest ago given up first.
struct MemoryCache {
    private struct Entry {
        let value: CacheValue
        /// When the oldest part of it was read from the store.
        let readAt: Timestamp
        var usedAt: UInt64
    }

    /// In entries of logs of the usual size; any other value weighs as much as one of them.
    private let capacity: Int
    private var entries: [CacheKey: Entry] = [:]
    private var weight = 0
    private var uses: UInt64 = 0

    init(capacity: Int) { self.capacity = capacity }

    mutating func value(for key: CacheKey) -> (value: CacheValue, readAt: Timestamp)? {
        uses += 1
        entries[key]?.usedAt = uses
        return entries[key].map { ($0.value, $0.readAt) }
    }

    mutating func keep(_ value: CacheValue, for key: CacheKey, readAt: Timestamp) {
        guard value.weight <= capacity else { return }
        uses += 1
        weight += value.weight - (entries.updateValue(Entry(value: value, readAt: readAt, usedAt: uses), forKey: key)?.value.weight ?? 0)
        if weight > capacity { makeRoom() }
    }

    /// An eighth at once, so that not every new value costs a look at all.
    private mutating func makeRoom() {
        for (key, entry) in entries.sorted(by: { $0.value.usedAt < $1.value.usedAt }) where weight > capacity - capacity / 8 {
            entries[key] = nil
            weight -= entry.value.weight
        }
    }
}

extension CacheValue {
    fileprivate var weight: Int {
        if case .page(let entries) = self { max(1, entries.reduce(0) { $0 + $1.event.change.weight }) } else { 1 }
    }
}

extension QueueEvent.Change {
    /// A crowd that comes back is one event with a moment for each person; eight of these take the room of an entry.
    fileprivate var weight: Int { if case .connected(let arrivals) = self { 1 + arrivals.count / 8 } else { 1 } }
}
