import EventLoop
import Metrics
import QueueEngine
import QueueService
import Telemetry

/// When a queue's visitors on one loop were asked, and are next.
struct Sweeping {
    /// Sweeps are this far apart, and further where one takes long: at most a tenth of the loop's time.
    static let nanoseconds: UInt64 = 100_000_000
    /// How long the loop's other connections wait for a sweep.
    static let sliceNanoseconds: UInt64 = 2_000_000

    /// One sweep under way.
    struct Pass {
        let isForced: Bool
        /// The loop's milliseconds. One moment for everyone: who was told together is told together again.
        let began: UInt32
        var index = 0
        var frames = 0
        /// Of the thread's processor time: a process that stands still in the middle of it does not work meanwhile.
        var took: UInt64 = 0
        /// In how many milliseconds somebody must look again even if nothing happens.
        var next: UInt32?
    }

    var next: (timer: TimerID, due: UInt64)?
    /// Not before: the last one has had its share of the loop's time.
    var earliest: UInt64 = 0
    /// The next one tells everyone.
    var isForced = false
    var pass: Pass?

    /// What is left of an interval, in milliseconds; nothing in the sweep that is nearest to its end. Were it always the
    /// next one, what moves once a second would be told every 1.1 seconds.
    static func rest(of interval: UInt32, passed: UInt32) -> UInt32 {
        let (passed, interval) = (UInt64(passed), UInt64(interval))
        return passed + nanoseconds / 2_000_000 >= interval ? 0 : UInt32(interval - passed)
    }
}

/// What a sweep knows of the queue, once for everyone.
struct SweepContext {
    let state: QueueState
    let milliseconds: UInt32
    /// When the sweep began, on the same clock.
    let began: UInt32
    let drain: DrainRate
    let line: LiveFrames.Line
    /// For whom is shown a place that the line has not come to, again.
    let stopped: LiveFrames.Line
    /// The queue was set anew, or somebody asked: told, due or not.
    let isForced: Bool

    init(_ queue: LiveQueue, isForced: Bool, began: UInt32? = nil) {
        let now = queue.live.server.clock.now()
        state = queue.snapshot.state
        milliseconds = queue.live.milliseconds
        self.began = began ?? milliseconds
        drain = state.drain(at: now)
        line = LiveFrames.Line(waiting: state.waitingCount, drain: drain, at: now)
        stopped = LiveFrames.Line(waiting: state.waitingCount, drain: drain, at: now, isStopped: true)
        self.isForced = isForced
    }
}

/// Who is due a position frame? Asked of all who wait, in ticket order, after something has moved the line or while
/// what is shown moves by itself.
extension LiveQueue {
    /// Sees to it that there is a sweep in `delay` at the latest, and in no less than what sweeps may cost.
    func scheduleSweep(after delay: UInt64 = 0) {
        guard !members.isEmpty else { return }
        let due = max(live.loop.now + max(delay, Sweeping.nanoseconds), sweeping.earliest)
        if let planned = sweeping.next {
            guard due < planned.due else { return }
            live.loop.cancel(planned.timer)
        }
        sweeping.next = (live.loop.schedule(after: due - live.loop.now) { [weak self] in self?.sweep() }, due)
    }

    /// Begins to ask everyone. What nobody is told costs a rank and a comparison.
    private func sweep() {
        sweeping.next = nil
        guard sweeping.pass == nil else { return scheduleSweep() }
        compact()
        sweeping.pass = Sweeping.Pass(isForced: sweeping.isForced, began: live.milliseconds)
        sweeping.isForced = false
        goOn()
    }

    /// Goes on for a while; then the loop's others have a turn, and the rest is for its next one.
    ///
    /// Who joins in between may stand before the place where this goes on, and then somebody is asked twice.
    private func goOn() {
        guard var pass = sweeping.pass else { return }
        let (began, used) = (EventLoop.monotonicNow(), EventLoop.threadTime())
        let context = SweepContext(self, isForced: pass.isForced, began: pass.began)
        while pass.index < members.count, EventLoop.monotonicNow() - began < Sweeping.sliceNanoseconds {
            let slice = pass.index..<min(pass.index + 32, members.count)
            ask(slice, context, &pass, &live.positionFrames)
            pass.index = slice.upperBound
            live.sendPositionFrames()
        }
        pass.took += EventLoop.threadTime() - used
        if pass.index < members.count {
            sweeping.pass = pass
            live.loop.defer { [weak self] in self?.goOn() }
        } else {
            sweeping.pass = nil
            end(pass)
        }
    }

    // One access to the loop's frames for many visitors: each is checked for being the only one.
    private func ask(
        _ slice: Range<Int>, _ context: SweepContext, _ pass: inout Sweeping.Pass, _ frames: inout PositionFrames
    ) {
        forEachMember(in: slice) { ask($0, context, &pass, &frames) }
    }

    private func ask(
        _ visitor: LiveVisitor, _ context: SweepContext, _ pass: inout Sweeping.Pass, _ frames: inout PositionFrames
    ) {
        guard visitor.isWatching else { return }
        let quiet = visitor.quietMilliseconds(context)
        if quiet == 0 {
            if let position = context.state.position(visitor.ticket) {
                if visitor.consider(position, context, &frames) { pass.frames += 1 }
            } else if !telling.isUnderWay, visitor.ticket.number < context.state.nextNumber(lane: visitor.ticket.lane) {
                visitor.settle()
            }
        }
        if quiet > 0 || visitor.isMoving { pass.next = min(pass.next ?? .max, quiet) }
    }

    private func end(_ pass: Sweeping.Pass) {
        sweeping.earliest = live.loop.now + pass.took * 9
        live.server.measurements.positionFrames.increment(by: pass.frames)
        live.server.measurements.sweepSeconds.recordNanoseconds(Int64(pass.took))
        if let next = pass.next { scheduleSweep(after: UInt64(next) * 1_000_000) }
    }
}
