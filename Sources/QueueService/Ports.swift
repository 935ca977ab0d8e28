public import QueueEngine

/// Time, from outside: a real clock, or a simulation's.
public protocol ServiceClock: Sendable {
    func now() -> Timestamp
    /// A log says that this moment has been: it is not before it from here on.
    func observe(_ moment: Timestamp)
    /// The store's clock showed this while it was asked, which took `roundTrip`: all instances go by that one.
    func calibrate(_ store: Timestamp, roundTrip: Timestamp.Span)
    /// Calls `body` once: soon after `moment`, or after a minute where that comes first. A caller for whom it is too early then
    /// asks again.
    func wake(at moment: Timestamp, _ body: @escaping @Sendable () -> Void)
}

/// Where the service runs, from outside: an event loop. It can be asked from any thread to run something there, soon.
public protocol ServiceExecutor: SerialExecutor {
    func execute(_ body: @escaping @Sendable () -> Void)
    /// The same loop for tasks: where they are not in the service itself they stay on its thread.
    var tasks: any TaskExecutor { get }
}

/// Randomness, from outside: the system's, or a seeded generator.
public protocol RandomSource: Sendable {
    func next() -> UInt64
}

extension RandomSource {
    func identifier<Subject>(at moment: Timestamp) -> Identifier<Subject> { Identifier(at: moment, random: (next(), next())) }
}

/// What instances tell each other after a commit. A hint: whatever is lost is read from the store.
public struct BusMessage: Sendable, Hashable {
    public let queue: QueueID
    public let epoch: UInt64
    /// How far the log is.
    public let head: UInt64
    /// When the event before `events` was; nil where that is not known.
    public let previous: Timestamp?
    /// The last events of it; none where the store must be asked what they are.
    public let events: [QueueEvent]
    public init(queue: QueueID, epoch: UInt64, head: UInt64, previous: Timestamp?, events: [QueueEvent]) {
        self.queue = queue
        self.epoch = epoch
        self.head = head
        self.previous = previous
        self.events = events
    }
}

extension BusMessage {
    /// Says that the queue has been deleted: its head lies behind every event, so whoever receives it asks the store.
    public static func deletion(of queue: QueueID, epoch: UInt64) -> BusMessage {
        BusMessage(queue: queue, epoch: epoch, head: .max, previous: nil, events: [])
    }

    var isDeletion: Bool { head == .max }

    /// Its events that come after `position`; nil where it does not continue that log, or does not say so.
    func events(after position: LogPosition) -> ArraySlice<QueueEvent>? {
        guard let first = events.first?.seq, position.seq + 1 >= first, position.seq <= head else { return nil }
        let known = Int(position.seq + 1 - first)
        guard position.at == (known == 0 ? previous : events[known - 1].at) else { return nil }
        return events[known...]
    }
}

/// Whether a bus carries messages.
public enum BusHealth: Sendable, Hashable {
    /// There is one instance, or they follow each other by the store alone.
    case none
    case live
    /// It does not, and why. Instances follow each other by the store meanwhile.
    case down(String)
}

/// Carries messages between instances: at most once, in no promised order, and a sender does not get its own back.
public protocol EventBus: Sendable {
    var health: BusHealth { get }
    func publish(_ messages: [BusMessage], from sender: InstanceID)
    func subscribe(_ subscriber: InstanceID, _ receive: @escaping @Sendable ([BusMessage]) -> Void)
    /// Lets go of it. Nothing is carried from here on.
    func stop()
}

extension EventBus {
    public func stop() {}
}

/// Who is told of every change of the queues that this instance serves. Called on the service's executor, in order.
public protocol QueueObserver: Sendable {
    func queueChanged(_ update: QueueUpdate)
    func queueRemoved(_ queue: QueueID)
    /// The queue is at rest: nobody is in it, and it is not kept in memory until somebody asks for it.
    func queueRested(_ queue: QueueID)
    /// The store has become unreachable, or reachable again: `since` when what is shown of all queues may be old; nil: live.
    func stalenessChanged(_ since: Timestamp?)
}

extension QueueObserver {
    public func queueRested(_ queue: QueueID) {}
}

/// What a queue is like at one moment. Immutable, one for all loops.
public final class QueueSnapshot: Sendable {
    public let record: QueueRecord
    public let state: QueueState
    private let drain: DrainRate
    public let at: Timestamp
    /// Since when the store has refused this queue's changes, so that what is shown of it may be old.
    public let staleSince: Timestamp?
    /// Since when what is shown may be old, where since `outage` no queue can be written; nil: it is live.
    public func staleSince(outage: Timestamp?) -> Timestamp? { [outage, staleSince].compactMap { $0 }.min() }
    /// Cached; see `QueueRecord.version`.
    public var version: String { recordVersion.text }
    private let recordVersion: RecordVersion

    /// - Parameter previous: the queue as it was before.
    init(
        record: QueueRecord, state: QueueState, at moment: Timestamp, staleSince: Timestamp? = nil, after previous: QueueSnapshot? = nil
    ) {
        self.record = record
        self.state = state
        self.staleSince = staleSince
        at = moment
        drain = state.drain(at: moment)
        recordVersion = if let previous, previous.record == record { previous.recordVersion } else { RecordVersion(record) }
    }

    /// How fast the line drained when it was like this; measured anew only where time alone makes it go on.
    public func drain(at now: Timestamp) -> DrainRate {
        drain.stillSeconds > 0 ? drain.after((now - at).seconds) ?? state.drain(at: now) : drain
    }
}

/// A change: what the queue is like now, and what has happened since the last update.
public struct QueueUpdate: Sendable {
    public let snapshot: QueueSnapshot
    public let events: [QueueEvent]
    /// Those that the events speak of, or all that still matter where the queue is new. The oldest first.
    public let announcements: [Announcement]
    /// Who was held here and has shown up at another instance, and when: a connection here that came later stays.
    public var movedAway: [(ticket: Ticket, at: Timestamp)] = []
}
