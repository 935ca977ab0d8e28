import EventLoop
import Metrics
import QueueEngine
import QueueService
import Telemetry
import WebSocketProtocol

/// One queue as the visitors on one loop see it: the newest snapshot, and who of them is here, in ticket order.
final class LiveQueue {
    unowned let live: LiveLoop
    private(set) var snapshot: QueueSnapshot
    private(set) var announcements: [Announcement]
    private var members: [LiveVisitor] = []
    private var feeds: [EventFeed] = []
    private var goneCount = 0
    private var nextSweep: (timer: TimerID, due: UInt64)?
    private var lastSweepTook: UInt64 = 0
    private var sweepsEveryone = false
    private var pass: Pass?

    /// A sweep under way.
    private struct Pass {
        let isForced: Bool
        var index = 0
        var frames = 0
        var took: UInt64 = 0
        /// In how many milliseconds somebody must look again even if nothing happens.
        var next: UInt32?
    }

    /// Sweeps are this far apart, and further where one takes long: at most a tenth of the loop's time.
    private static let sweepNanoseconds: UInt64 = 100_000_000
    /// How long the loop's other connections wait for a sweep.
    private static let sliceNanoseconds: UInt64 = 2_000_000

    init(live: LiveLoop, _ update: QueueUpdate) {
        self.live = live
        snapshot = update.snapshot
        announcements = update.announcements
    }

    // MARK: Members

    func add(_ visitor: LiveVisitor) {
        if let last = members.last, visitor.ticket < last.ticket {
            members.insert(visitor, at: firstIndex(notBefore: visitor.ticket))
        } else {
            members.append(visitor)
        }
        scheduleSweep()
    }

    /// The visitor's connection is gone. The place in the list is given back by the next sweep, all at once.
    func remove(_ visitor: LiveVisitor) {
        goneCount += 1
        scheduleSweep()
    }

    func add(_ feed: EventFeed) { feeds.append(feed) }
    func remove(_ feed: EventFeed) { feeds.removeAll { $0 === feed } }

    func find(_ ticket: Ticket) -> ArraySlice<LiveVisitor> {
        let start = firstIndex(notBefore: ticket)
        return members[start...].prefix { $0.ticket == ticket }
    }

    private func firstIndex(notBefore ticket: Ticket) -> Int {
        var (low, high) = (0, members.count)
        while low < high {
            let middle = (low + high) / 2
            if members[middle].ticket < ticket { low = middle + 1 } else { high = middle }
        }
        return low
    }

    /// In ticket order, the next ones on their way from memory meanwhile.
    private func forEachMember(in range: Range<Int>, _ body: (LiveVisitor) -> Void) {
        let members = members
        let span = members.span
        for index in range {
            if index + 4 < span.count { prefetch(span[index + 4]) }
            if index + 2 < span.count { prefetch(span[index + 2].connection) }
            body(span[index])
        }
    }

    // MARK: Changes

    func apply(_ update: QueueUpdate) {
        guard update.snapshot.state.head >= snapshot.state.head else { return }
        snapshot = update.snapshot
        announcements = (update.announcements + announcements).prefix(20).map { $0 }
        for event in update.events { tell(event) }
        for announcement in update.announcements {
            broadcast { LiveFrames.announcement(announcement, into: &$0) }
            live.server.measurements.announcementFrames.increment(by: members.count)
        }
        for feed in feeds { feed.poke() }
        if update.events.contains(where: \.movesTheLine) { scheduleSweep() }
    }

    /// What cannot wait for a sweep.
    private func tell(_ event: QueueEvent) {
        switch event.change {
        case .admitted(let ticket, let until):
            for visitor in find(ticket) { visitor.admit(until: until) }
        case .completed(let ticket): for visitor in find(ticket) { visitor.finish("completed") }
        case .left(let ticket): for visitor in find(ticket) { visitor.finish("left") }
        case .expired(let ticket, _): for visitor in find(ticket) { visitor.finish("expired") }
        case .closed: for visitor in members where visitor.isWaiting { visitor.finish("closed") }
        case .opened, .paused, .resumed:
            broadcast { LiveFrames.queue(snapshot.state.status, into: &$0) }
            sweepsEveryone = true
        case .configured: sweepsEveryone = true
        case .joined, .connected, .disconnected, .announced: break
        }
    }

    /// The queue is gone.
    func close() {
        for visitor in members { visitor.finish("closed") }
        for feed in feeds { feed.end() }
    }

    /// Encodes a message once and sends the same bytes to everyone who compresses alike.
    func broadcast(_ write: (inout [UInt8]) -> Void) {
        guard !members.isEmpty else { return }
        live.encoder.reset()
        write(&live.encoder.payload)
        var message = SharedMessage(.text, &live.encoder)
        forEachMember(in: members.indices) { visitor in message.withFrame(for: visitor.webSocket.deflate) { visitor.send($0) } }
    }

    // MARK: Sweeping

    /// Sees to it that there is a sweep in `delay` at the latest, and in no less than what sweeps may cost.
    private func scheduleSweep(after delay: UInt64 = 0) {
        guard !members.isEmpty else { return }
        let due = live.loop.now + max(delay, LiveQueue.sweepNanoseconds, lastSweepTook * 10)
        if let planned = nextSweep {
            guard due < planned.due else { return }
            live.loop.cancel(planned.timer)
        }
        nextSweep = (live.loop.schedule(after: due - live.loop.now) { [weak self] in self?.sweep() }, due)
    }

    /// Begins to ask for each who waits, in ticket order, whether a frame is due. What nobody is told costs a rank and
    /// a comparison.
    private func sweep() {
        nextSweep = nil
        guard pass == nil else { return scheduleSweep() }
        compact()
        pass = Pass(isForced: sweepsEveryone)
        sweepsEveryone = false
        goOn()
    }

    /// Goes on for a while; then the loop's others have a turn, and the rest is for its next one.
    ///
    /// Who joins in between may stand before the place where this goes on, and then somebody is asked twice.
    private func goOn() {
        guard var pass else { return }
        let began = EventLoop.monotonicNow()
        let now = live.server.clock.now()
        let state = snapshot.state
        let context = LiveVisitor.Sweep(
            milliseconds: live.milliseconds, at: Prepared(now), waiting: state.waitingCount, drain: state.drain(at: now),
            isForced: pass.isForced)
        while pass.index < members.count, EventLoop.monotonicNow() - began < LiveQueue.sliceNanoseconds {
            let slice = pass.index..<min(pass.index + 32, members.count)
            forEachMember(in: slice) { ask($0, of: state, context, &pass) }
            pass.index = slice.upperBound
        }
        pass.took += EventLoop.monotonicNow() - began
        self.pass = pass.index < members.count ? pass : nil
        if pass.index < members.count { live.loop.defer { [weak self] in self?.goOn() } } else { end(pass) }
    }

    private func ask(_ visitor: LiveVisitor, of state: QueueState, _ context: LiveVisitor.Sweep, _ pass: inout Pass) {
        guard visitor.isWatching else { return }
        let quiet = visitor.quietMilliseconds(context)
        if quiet == 0 {
            if let position = state.position(visitor.ticket) {
                if visitor.consider(position, context) { pass.frames += 1 }
            } else if visitor.ticket.number < state.nextNumber(lane: visitor.ticket.lane) {
                visitor.settle()
            }
        }
        if quiet > 0 || visitor.isMoving { pass.next = min(pass.next ?? .max, quiet) }
    }

    private func end(_ pass: Pass) {
        lastSweepTook = pass.took
        live.server.measurements.positionFrames.increment(by: pass.frames)
        live.server.measurements.sweepSeconds.recordNanoseconds(Int64(pass.took))
        if let next = pass.next { scheduleSweep(after: UInt64(next) * 1_000_000) }
    }

    private func compact() {
        guard goneCount > 0 else { return }
        members.removeAll { $0.isGone }
        goneCount = 0
    }
}

extension QueueEvent {
    /// Whether somebody's position, wait or standing can be another one after it.
    fileprivate var movesTheLine: Bool {
        switch change {
        case .announced, .connected, .disconnected: false
        case .joined, .admitted, .completed, .left, .expired, .opened, .paused, .resumed, .closed, .configured: true
        }
    }
}
