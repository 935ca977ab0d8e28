import EventLoop
import QueueEngine
import QueueService

/// A reader's place in one queue's log.
struct EventReader: Sendable {
    let service: QueueService
    /// Keeps the queue served while it is followed.
    let pin: QueuePin
    let queue: QueueID
    let tenant: TenantID
    let epoch: UInt64
    var seq: UInt64

    mutating func next() async throws(ServiceError) -> ArraySlice<LogEntry> {
        let entries = try await service.entries(of: queue, tenant: tenant, after: seq, epoch: epoch)
        seq = entries.last?.event.seq ?? seq
        return entries
    }
}

/// Follows a log from a reader's place on. All that is told comes from the log, in order; a change in the queue only
/// says when to look. So there is no seam between replaying and following, and nothing to lose.
final class EventFeed {
    private unowned let live: LiveLoop
    private var reader: EventReader
    private let connection: Connection
    private let deliver: (LogEntry, UInt64) -> Void
    private let failed: (Problem) -> Void
    private var isReading = false
    private var isPoked = false
    private var isEnded = false

    init(
        live: LiveLoop, reader: EventReader, connection: Connection, deliver: @escaping (LogEntry, UInt64) -> Void,
        failed: @escaping (Problem) -> Void
    ) {
        self.live = live
        self.reader = reader
        self.connection = connection
        self.deliver = deliver
        self.failed = failed
    }

    func start() {
        guard let queue = live.queues[reader.queue] else { return failed(.noSuchQueue) }
        queue.add(self)
        read()
    }

    func stop() {
        isEnded = true
        live.queues[reader.queue]?.remove(self)
    }

    /// The queue is gone.
    func end() { failed(.noSuchQueue) }

    /// There may be something new.
    func poke() {
        isPoked = true
        read()
    }

    /// A reader that does not take what it was sent is sent nothing more until it does; the log keeps it.
    func read() {
        guard !isReading, !isEnded, connection.unsentBytes == 0 else { return }
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
        connection.together { for entry in entries { deliver(entry, reader.epoch) } }
        let head = live.queues[reader.queue]?.snapshot.state.head ?? 0
        if isPoked || !entries.isEmpty && reader.seq < head { read() }
    }

    private func fail(_ error: ServiceError) {
        isReading = false
        guard !isEnded else { return }
        // The store is away: what is there will still be there.
        if case .unavailable(let seconds) = error {
            live.loop.schedule(after: UInt64(seconds) * 1_000_000_000) { [weak self] in self?.read() }
        } else {
            failed(Problem(error))
        }
    }
}
