import EventLoop
import HTTPTypes
import QueueEngine
import QueueService

/// A reader's place in one queue's log.
struct EventReader: Sendable {
    let service: QueueService
    /// Keeps the queue served while it is followed.
    let pin: QueuePin
    let queue: QueueID
    let tenant: TenantID
    /// Whose reader it is: a key that is revoked ends it.
    let key: KeyID
    let epoch: UInt64
    var seq: UInt64

    mutating func next() async throws(ServiceError) -> ArraySlice<LogEntry> {
        let entries = try await service.entries(of: queue, tenant: tenant, after: seq, epoch: epoch)
        seq = entries.last?.event.seq ?? seq
        return entries
    }
}

/// What carries a queue's events to one reader.
protocol EventSink: AnyObject {
    /// Sends one entry, whatever waits already.
    func deliver(_ entry: LogEntry, epoch: UInt64)
    /// Says why nothing more comes, and ends the connection.
    func end(_ problem: Problem)
}

/// Follows a log from a reader's place on. All that is told comes from the log, in order; a change in the queue only
/// says when to look. So there is no seam between replaying and following, and nothing to lose.
///
/// Entries are sent as the reader takes them: `highWater` bytes and one entry wait at most, the rest of a page stays as
/// it was read. A reader that takes nothing for a while is told so and sent away; it goes on after its last entry.
final class EventFeed {
    private unowned let live: LiveLoop
    private var reader: EventReader
    private let connection: Connection
    private unowned let sink: any EventSink
    /// Read from the log, and not sent yet.
    private var unsent: ArraySlice<LogEntry> = []
    private var isReading = false
    private var isPoked = false
    private var isEnded = false
    /// The queue is gone: the reader gets what is left of its log.
    private var isFinishing = false
    private var isSending = false

    /// No entry is sent while so many bytes wait.
    static let highWater = 1 << 20
    /// How long the loop's other connections wait for a page to be written.
    private static let sliceNanoseconds: UInt64 = 2_000_000

    init(live: LiveLoop, reader: EventReader, connection: Connection, sink: any EventSink) {
        self.live = live
        self.reader = reader
        self.connection = connection
        self.sink = sink
        // What waits is bounded here, by whole entries, however long one is.
        connection.outboxLimit = .max
    }

    var key: KeyID { reader.key }
    var hasRoom: Bool { connection.unsentBytes < EventFeed.highWater }

    func start() {
        live.add(self)
        if let queue = live.queues[reader.queue] { queue.add(self) } else { isFinishing = true }
        read()
    }

    func stop() {
        isEnded = true
        unsent = []
        live.remove(self)
        live.queues[reader.queue]?.remove(self)
    }

    func end(_ problem: Problem) {
        if !isEnded { sink.end(problem) }
    }

    /// There may be something new.
    func poke() {
        isPoked = true
        if unsent.isEmpty { read() }
    }

    /// The queue is gone: the reader gets what is left of its log, and is told then.
    func finish() {
        isFinishing = true
        poke()
    }

    /// The reader has taken what was sent.
    func drained() { sendOn() }

    private func read() {
        guard !isReading, !isEnded, unsent.isEmpty, connection.unsentBytes == 0 else { return }
        isReading = true
        isPoked = false
        let bound = LoopBound(self, to: live.loop)
        let start = reader
        Task(executorPreference: live.loop) {
            var reader = start
            do throws(ServiceError) {
                let entries = try await reader.next()
                bound.onLoop.take(entries, reader)
            } catch {
                bound.onLoop.fail(error)
            }
        }
    }

    private func take(_ entries: ArraySlice<LogEntry>, _ reader: EventReader) {
        isReading = false
        guard !isEnded else { return }
        self.reader = reader
        unsent = entries
        let isAtEnd = entries.isEmpty
        if isAtEnd, isFinishing, !isPoked { return sink.end(.noSuchQueue) }
        sendOn(readingOn: !isAtEnd)
    }

    /// Sends as much of the page as there is room for, and reads the next one when all of it has gone.
    private func sendOn(readingOn: Bool = true) {
        guard !isEnded, !isSending else { return }
        isSending = true
        let end = EventLoop.monotonicNow() + EventFeed.sliceNanoseconds
        connection.together {
            while hasRoom, !isEnded, EventLoop.monotonicNow() < end, let entry = unsent.popFirst() {
                sink.deliver(entry, epoch: reader.epoch)
            }
        }
        isSending = false
        guard !isEnded else { return }
        if !unsent.isEmpty {
            // With no room left `drained` goes on; otherwise the loop's others have their turn.
            if hasRoom { live.loop.defer { [weak self] in self?.sendOn() } }
            return
        }
        let head = live.queues[reader.queue]?.snapshot.state.head ?? 0
        if isPoked || readingOn && (isFinishing || reader.seq < head) { read() }
    }

    private func fail(_ error: ServiceError) {
        isReading = false
        guard !isEnded else { return }
        // The store is away: what is there will still be there.
        if case .unavailable(let seconds) = error {
            live.loop.schedule(after: UInt64(seconds) * 1_000_000_000) { [weak self] in self?.read() }
        } else {
            sink.end(Problem(error))
        }
    }
}

extension Problem {
    static let readsTooSlowly = Problem(
        .requestTimeout, "slow_consumer", "nothing was read for too long; come back and go on after the last event")
}
