import QueueEngine

/// What is being decided about one queue in one batch: commands run against it in turn, each seeing what those before
/// it did, and all that they brought is committed together.
///
/// A value: when the store says that somebody else was faster, it is thrown away and the commands run again.
struct Decision {
    var record: QueueRecord
    var presence: Presence
    let now: Timestamp
    let baseHead: UInt64
    private(set) var state: QueueState
    private(set) var events: [(event: QueueEvent, detail: LogAppend.Detail)] = []
    var receipts: [Receipt] = []
    /// Trusted users who join in this batch: a second one of the same name need not go to the store to be refused.
    var joiningUsers: Set<String> = []

    init(_ hosted: HostedQueue, now: Timestamp) {
        record = hosted.record
        presence = hosted.presence
        state = hosted.state
        baseHead = hosted.state.head
        self.now = now
    }

    /// Runs a command of the engine. One that throws has changed nothing.
    mutating func run<R>(
        _ detail: LogAppend.Detail = .none,
        _ command: (inout QueueState, Timestamp, inout [QueueEvent]) throws(QueueRefusal) -> R
    ) throws(ServiceError) -> R {
        var new: [QueueEvent] = []
        do throws(QueueRefusal) {
            let result = try command(&state, now, &new)
            for event in new {
                events.append((event, detail))
                forgetEnded(event)
            }
            return result
        } catch {
            throw .refused(error)
        }
    }

    /// Sets the queue anew, with what is shown of it.
    mutating func configure(_ new: QueueRecord) throws(ServiceError) {
        record = new
        try run { state, now, log throws(QueueRefusal) in state.configure(new.configuration, at: now, &log) }
    }

    /// What time brings. Comes last, so that whoever has just come back is seen before absences are judged.
    mutating func advance() {
        let lapsed = presence.lapsed(at: now).filter { presence.closed($0) }
        try! run { state, now, log throws(QueueRefusal) in
            state.disconnect(lapsed, at: now, &log)
            state.advance(to: now, &log)
        }
    }

    private mutating func forgetEnded(_ event: QueueEvent) {
        switch event.change {
        case .admitted(let ticket, _), .left(let ticket), .expired(let ticket, _): presence.forget(ticket)
        case .closed: presence = Presence()
        default: break
        }
    }

    var append: LogAppend {
        var append = LogAppend(record: record, expectedHead: baseHead, status: state.status, counters: state.counters)
        append.events = events
        append.receipts = receipts
        return append
    }

    /// Nothing to commit.
    var isEmpty: Bool { events.isEmpty && receipts.isEmpty }
}

/// A queue that this instance serves: its replica, and who is in sight.
struct HostedQueue {
    var record: QueueRecord
    var state: QueueState
    var presence = Presence()
    /// What everyone was told last; nil before the queue's first event is committed.
    var snapshot: QueueSnapshot?
    /// The newest first, expired ones among them.
    var announcements: [Announcement] = []
    var isCatchingUp = false
}

/// A command that waits for its commit.
protocol PendingCommand: AnyObject {
    var queue: QueueID { get }
    /// Decides, or says why not; may be called again after a lost race.
    func decide(_ decision: inout Decision) throws(ServiceError)
    /// Committed.
    func succeed()
    /// Will not be. False: it wants to be tried again.
    func fail(_ error: ServiceError) -> Bool
}

/// A command that somebody waits for.
final class AwaitedCommand<R: Sendable>: PendingCommand {
    let queue: QueueID
    private let body: (inout Decision) throws(ServiceError) -> R
    private let continuation: CheckedContinuation<Result<R, ServiceError>, Never>
    private var result: R?

    init(
        _ queue: QueueID, _ continuation: CheckedContinuation<Result<R, ServiceError>, Never>,
        _ body: @escaping (inout Decision) throws(ServiceError) -> R
    ) {
        self.queue = queue
        self.continuation = continuation
        self.body = body
    }

    func decide(_ decision: inout Decision) throws(ServiceError) { result = try body(&decision) }
    func succeed() { continuation.resume(returning: .success(result!)) }
    func fail(_ error: ServiceError) -> Bool {
        continuation.resume(returning: .failure(error))
        return true
    }
}

/// A command that nobody waits for and that must not be lost: who is in sight.
final class StandingCommand: PendingCommand {
    let queue: QueueID
    private let body: (inout Decision) throws(ServiceError) -> Void

    init(_ queue: QueueID, _ body: @escaping (inout Decision) throws(ServiceError) -> Void) {
        self.queue = queue
        self.body = body
    }

    func decide(_ decision: inout Decision) throws(ServiceError) { try body(&decision) }
    func succeed() {}
    func fail(_ error: ServiceError) -> Bool {
        switch error {
        case .unavailable, .storeFull: false
        default: true
        }
    }
}
