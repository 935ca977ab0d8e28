import EventLoop
import HTTPTypes
import Metrics
import QueueEngine
import QueueService
import Telemetry
import WebSocketProtocol

/// One visitor's WebSocket. While it waits it is this record, its connection's and its place in a list: no task, no
/// timer, no buffer. Here is what is kept and what is sent; `LiveVisitor+Messages` is what comes from the client.
final class LiveVisitor: ConnectionHandler {
    enum Phase: UInt8 {
        /// No first frame yet.
        case new
        /// A join or resume is with the service.
        case entering
        case waiting
        case admitted
        /// A close frame has gone, or is about to; nothing more is said.
        case over
        /// The connection is gone.
        case gone
    }

    // Strong, and so never counted on the way: the loop's list lets go of its visitors.
    let live: LiveLoop
    /// The two know each other until the connection closes, which every connection does.
    let connection: Connection
    // What a sweep asks everyone, side by side in memory.
    var ticket = Ticket(rawValue: 0)
    var shown = ShownPosition(position: 0, rate: 0, at: 0)
    var lastPosition: Int32 = 0
    var lastSent: UInt32 = 0
    var phase = Phase.new
    var isHidden = false
    var isExact = false
    private var awaitsPong = false
    /// The service counts this connection among those that hold the ticket, and must be told of its end.
    var holdsTicket = false
    /// Grows with every entry into a queue in this process, and wraps: who has entered after a round began is not told of it again.
    var serial: UInt32 = 0
    /// When the visitor asked to enter the queue: of two connections with one ticket the later stays, in whatever order they are
    /// answered.
    var cameAt = Timestamp.distantPast
    var entry: Entry { Entry(cameAt: cameAt, serial: serial) }

    /// Two that came at one moment are told apart by when they were answered.
    struct Entry: Comparable {
        let cameAt: Timestamp
        let serial: UInt32

        static func < (a: Self, b: Self) -> Bool {
            a.cameAt == b.cameAt ? Int32(bitPattern: a.serial &- b.serial) < 0 : a.cameAt < b.cameAt
        }
    }
    var webSocket: WebSocket
    // The rest is for what is rarer.
    var queue: LiveQueue?
    var session = SessionID(high: 0, low: 0)
    /// The integrator's id for the person, where a key vouched for it.
    var user: String?
    var messages = TokenBucket()
    var bytes = TokenBucket()
    var controls = TokenBucket()
    var errors = TokenBucket()

    init(live: LiveLoop, connection: Connection, deflate: PermessageDeflate?) {
        self.live = live
        self.connection = connection
        webSocket = WebSocket(messageLimit: live.server.settings.messageBytes, deflate: deflate)
        connection.limitSendBuffer(Int32(live.server.settings.visitorSendBufferBytes))
        connection.outboxLimit = Int32(live.server.settings.visitorOutboxBytes)
        connection.deadline = live.loop.second + live.server.settings.firstFrameSeconds
        live.server.measurements.openVisitors.increment()
    }

    var isWaiting: Bool { phase == .waiting }
    var isWatching: Bool { phase == .waiting && !isHidden }
    var isGone: Bool { phase == .gone }

    // MARK: The connection

    func connection(_ connection: Connection, received bytes: inout MutableRawSpan) {
        // Whoever talks and does not read is not alive for it.
        if connection.unsentBytes == 0 { noteLife() }
        guard self.bytes.take(connection.receivedBytes, at: live.milliseconds, live.server.settings.limits.bytes) else {
            return refuseFlood("bytes")
        }
        read(&bytes)
    }

    func connectionDrained(_ connection: Connection) { noteLife() }

    private func noteLife() {
        guard phase == .waiting || phase == .admitted else { return }
        awaitsPong = false
        connection.deadline = live.loop.second + live.server.settings.pingSeconds
    }

    func connectionTimedOut(_ connection: Connection) {
        switch phase {
        case .new:
            live.server.measurements.slow(.firstFrame)
            end(.noFirstFrame)
        case .over, .gone:
            live.server.measurements.slow(.close)
            connection.close()
        case .entering, .waiting, .admitted:
            guard !awaitsPong else {
                noteDeadPeer()
                return connection.close()
            }
            awaitsPong = true
            connection.deadline = live.loop.second + live.server.settings.pongSeconds
            connection.send(FrameEncoder.frame(.ping, []))
        }
    }

    func connectionGivenUp(_ connection: Connection) {
        guard phase != .over else { return }
        if awaitsPong { noteDeadPeer() } else { live.noteSlowReader() }
    }

    private func noteDeadPeer() {
        live.server.measurements.deadPeersClosed.increment()
        live.server.measurements.slow(.pong)
    }

    func connectionClosed(_ connection: Connection) {
        if phase != .over { live.server.measurements.closes.closed(CloseCode.abnormal.rawValue) }
        phase = .gone
        live.connectionClosed(connection)
        live.server.measurements.openVisitors.decrement()
        guard let queue else { return }
        if holdsTicket, !queue.isRetired { live.ticketClosed(queue.snapshot, ticket) }
        queue.remove(self)
    }

    // MARK: Sending

    /// Sends a whole frame in order; whoever lets too much of it pile up is sent away.
    func send(_ frame: UnsafeRawBufferPointer) {
        guard phase == .waiting || phase == .admitted || phase == .entering || phase == .new else { return }
        if !connection.send(frame) {
            live.server.measurements.slowConsumersClosed.increment()
            live.server.measurements.slow(.reading)
            end(.slowConsumer)
        }
    }

    func send(_ write: (inout [UInt8]) -> Void) {
        live.encoder.text(deflate: webSocket.deflate, write) { send($0) }
    }

    /// Ends the connection with a close frame.
    func end(_ close: LiveClose) {
        guard phase != .over, phase != .gone else { return }
        phase = .over
        live.server.measurements.closes.closed(close.rawValue)
        connection.dropReplaceable()
        connection.deadline = live.loop.second + live.server.settings.closeSeconds
        if let frame = webSocket.close(close.code, close.reason) { connection.sendLast(frame) }
    }

    func refuse(_ problem: Problem, _ close: LiveClose) {
        guard phase != .over, phase != .gone else { return }
        live.server.measurements.protocolErrors.increment()
        send { LiveFrames.error(problem, into: &$0) }
        end(close)
    }

    func refuseFlood(_ what: String) { refuse(live.flooded(what, connection), .rateLimited) }

    // MARK: Positions

    /// For how many milliseconds more nothing may be sent.
    func quietMilliseconds(_ sweep: SweepContext) -> UInt32 {
        guard isExact, !sweep.isForced else { return 0 }
        return Sweeping.rest(of: live.server.settings.updateMilliseconds, passed: sweep.began &- lastSent)
    }

    /// Whether a frame can come to be due although nothing happens in the queue.
    var isMoving: Bool { !isExact && shown.isMoving }

    /// Writes a position frame where one is due, and says whether it did.
    func consider(_ position: Int, _ sweep: SweepContext, _ frames: inout PositionFrames) -> Bool {
        let rose = position > Int(lastPosition)
        let isDue = isExact ? position != Int(lastPosition) : shown.isFrameDue(truth: position, at: sweep.milliseconds)
        guard rose || isDue || sweep.isForced else { return false }
        show(position, sweep, reason: rose ? LiveFrames.overtaken : nil, &frames)
        return true
    }

    func show(_ position: Int, _ sweep: SweepContext, reason: String?, _ frames: inout PositionFrames) {
        var rate = sweep.drain.rate(at: position)
        if reason == nil {
            if !isExact { rate = shown.rate(toTell: rate, truth: position, at: sweep.milliseconds) }
            // Changed in a copy: where it lies each change would be checked for being the only access to it.
            var next = shown
            next.update(position: position, rate: rate, at: sweep.milliseconds)
            shown = next
        } else {
            shown = ShownPosition(position: position, rate: rate, at: sweep.milliseconds)
        }
        lastPosition = Int32(clamping: position)
        lastSent = sweep.began
        frames.append(position, rate == 0 ? sweep.stopped : sweep.line, reason: reason, to: self)
    }

    // MARK: What becomes of a session

    /// The turn has come.
    ///
    /// - Parameter moment: when it came; nil where that was while nobody was connected.
    func admit(until: Timestamp, at moment: Timestamp? = nil) {
        guard phase == .waiting, let queue else { return }
        phase = .admitted
        connection.dropReplaceable()
        let (server, record, session, user) = (live.server, queue.snapshot.record, session, user)
        let bound = LoopBound(self, to: live.loop)
        Task(executorPreference: live.loop) {
            let now = server.clock.now()
            let (signedAt, end) = (server.clock.timeOfDay(now), server.clock.timeOfDay(until))
            guard let admission = try? await server.admissions.sign(session: session, user: user, queue: record, at: signedAt, until: end)
            else {
                return bound.onLoop.end(.slowConsumer)  // Never seen to fail; the client comes back and is told again.
            }
            bound.onLoop.sendAdmission(admission, record, until, at: moment)
        }
    }

    private func sendAdmission(_ admission: String, _ record: QueueRecord, _ until: Timestamp, at moment: Timestamp?) {
        guard phase == .admitted else { return }
        let measurements = live.server.measurements
        measurements.admissions.increment()
        if let moment {
            measurements.admissionDelaySeconds.record(live.server.clock.now() - moment)
            // A session's id says when it was made.
            measurements.visitorWaitSeconds.record(moment - session.madeAt)
        }
        send { LiveFrames.admitted(admission, redirect: record.redirect(with: admission), expiresAt: until, into: &$0) }
    }

    /// The session is over.
    func finish(_ reason: String) {
        guard phase == .waiting || phase == .admitted || phase == .entering else { return }
        send { LiveFrames.ended(reason, into: &$0) }
        end(.sessionEnded)
    }

    /// The ticket does not wait, and no event said why: the snapshot or the store knows.
    func settle() {
        guard phase == .waiting, let queue else { return }
        if case .admitted(let until) = queue.snapshot.state.standing(ticket) { return admit(until: until) }
        let (ended, session, epoch) = (live.server.ended, session, queue.snapshot.record.epoch)
        let bound = LoopBound(self, to: live.loop)
        phase = .entering
        Task(executorPreference: live.loop) {
            do throws(ServiceError) {
                bound.onLoop.finish(try await ended.end(of: session, epoch: epoch).reason ?? "expired")
            } catch {
                // It is asked again over a new connection.
                if error == .noSuchSession { bound.onLoop.finish("expired") } else { bound.onLoop.drain(afterSeconds: 1) }
            }
        }
    }

    func drain(afterSeconds: Double) {
        guard phase != .over, phase != .gone else { return }
        send { LiveFrames.reconnect(afterSeconds: afterSeconds, into: &$0) }
        end(.restarting)
    }
}

extension QueueRecord {
    /// Where an admitted browser is sent, with its admission.
    func redirect(with admission: String) -> String? {
        redirectURL.map { RedirectURL.adding(admission, to: $0) }
    }
}

extension Metrics.Timer {
    /// A span of queues' time, which may run a little behind another's.
    func record(_ span: Timestamp.Span) { recordNanoseconds(1_000 * max(0, span.microseconds)) }
}
