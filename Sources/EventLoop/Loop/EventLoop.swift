import CLinux
import Glibc
import Locks

/// One thread that waits on epoll and runs what is ready: sockets, timers, and jobs of Swift concurrency.
///
/// Everything a connection does happens on its loop, so nothing of a connection is locked. A loop is a `TaskExecutor`
/// (a task can prefer it): whatever serves a connection stays on the connection's thread. For an actor to live on it
/// there is `LoopSerialExecutor`.
public final class EventLoop: TaskExecutor, @unchecked Sendable {
    // Unchecked: `inbox` is locked; all other mutable state belongs to the loop's thread, which `preconditionOnLoop`
    // checks where a caller could get it wrong.

    private struct Work {
        enum Body {
            case job(UnownedJob)
            case isolated(UnownedJob, UnownedSerialExecutor)
            case call(@Sendable () -> Void)
        }

        let body: Body
        /// Whom the time is charged to that it takes; nil: nobody.
        let account: UInt64?
    }

    private struct Inbox {
        var work: [Work] = []
        /// The loop looks into the inbox before it waits, or has been woken to do so.
        var isAwake = false
        var isStopping = false
    }

    public let index: Int
    private let epoll: Descriptor
    private let wakeup: Descriptor
    private let inbox = Lock(Inbox())
    /// What of the inbox is being done.
    private var taken: [Work] = []
    /// Loops to wake: they sleep, and this one has brought them work. Anybody else who brings some wakes them at once.
    private var owedWakes: [EventLoop] = []
    /// What this loop has done so far. May be read on any thread.
    public let figures = LoopFigures()

    private var sources = SourceTable()
    private var timers = Timers()
    /// When to check that peers take what they were sent.
    private var progress = ProgressWatch()
    /// A turn had no time for all checks that were due: they go on at the end of the next one.
    private var isCheckDeferred = false
    private var lastSweep: UInt32 = 0
    private var deferred: [() -> Void] = []
    /// Which of the sources that are ready is served when.
    private var turns = FairTurns()
    /// What the source that is being served, or the job that is being done, takes.
    private var stopwatch = Stopwatch()
    /// For whom the loop works just now: the jobs that this brings, on whatever loop, are charged to the same account.
    private var account: UInt64?

    /// What all connections of this loop receive into, one after the other.
    let receiveBuffer = UnsafeMutableRawBufferPointer.allocate(byteCount: EventLoop.receiveBufferSize, alignment: 64)
    static let receiveBufferSize = 128 * 1024
    /// Where the connection that is being read collects what it says.
    var cork = Cork()
    /// Over how many seconds the peer of a connection must go on taking what waits for it.
    public var stallSeconds: UInt32 = 55
    /// Bytes of the network that brought what a connection is being given.
    var receivedBytes = 0
    /// Through which all TLS connections of this loop read and write.
    private(set) lazy var tlsTransport = TLSTransport()

    /// Monotonic time in nanoseconds, read once an iteration.
    public private(set) var now: UInt64

    public init(index: Int = 0) throws(SystemError) {
        self.index = index
        epoll = Descriptor(owning: try checked("epoll_create1", clinux_epoll_create()))
        wakeup = Descriptor(owning: try checked("eventfd", clinux_eventfd()))
        now = EventLoop.monotonicNow()
        _ = try checked("epoll_ctl", clinux_epoll_add(epoll.number, wakeup.number, UInt32(CLINUX_IN), EventLoop.wakeupTag))
    }

    deinit {
        receiveBuffer.deallocate()
        cork.deallocate()
    }

    private static let wakeupTag = UInt64.max

    /// The loop's time in whole seconds, for time limits that need no better.
    public var second: UInt32 { UInt32(truncatingIfNeeded: now / 1_000_000_000) }

    // MARK: Work from other threads

    public func enqueue(_ job: consuming ExecutorJob) { submit(.job(UnownedJob(job)), isCharged: true) }

    func enqueue(_ job: UnownedJob, of executor: UnownedSerialExecutor) { submit(.isolated(job, executor), isCharged: true) }

    /// Runs `body` on the loop, soon. May be called from any thread; keeps the order of one caller's calls. It is charged to nobody:
    /// a change in a queue is told to everyone, whoever caused it.
    public func execute(_ body: @escaping @Sendable () -> Void) { submit(.call(body), isCharged: false) }

    private func submit(_ body: Work.Body, isCharged: Bool) {
        let current = EventLoop.current
        let work = Work(body: body, account: isCharged ? current?.account : nil)
        let sleeps = inbox.withLock { inbox in
            inbox.work.append(work)
            return !inbox.isAwake
        }
        guard sleeps else { return }
        // A loop that is woken at once takes this thread's processor for the first job, and again for each of the others.
        if let current, current !== self { current.owe(self) } else { wakeIfAsleep() }
    }

    private func owe(_ loop: EventLoop) {
        if !owedWakes.contains(where: { $0 === loop }) { owedWakes.append(loop) }
    }

    private func wakeIfAsleep() {
        let mustWake = inbox.withLock { inbox in
            defer { inbox.isAwake = true }
            return !inbox.isAwake
        }
        if mustWake { wake() }
    }

    /// The loop of the calling thread.
    private static var current: EventLoop? {
        clinux_thread_owner().map { Unmanaged<EventLoop>.fromOpaque($0).takeUnretainedValue() }
    }

    private func wakeOwed() {
        guard !owedWakes.isEmpty else { return }
        for loop in owedWakes { loop.wakeIfAsleep() }
        owedWakes.removeAll(keepingCapacity: true)
    }

    private func wake() {
        var one: UInt64 = 1
        _ = write(wakeup.number, &one, 8)
    }

    /// Ends `run` after the work that is already in the inbox.
    public func stop() {
        inbox.withLock { $0.isStopping = true }
        wake()
    }

    public var isOnLoop: Bool { EventLoop.current === self }

    public func preconditionOnLoop() { precondition(isOnLoop, "called off its event loop") }

    // MARK: What the loop watches

    func add(_ source: Source, for readiness: Readiness) throws(SystemError) {
        let tag = sources.insert(source)
        let result = clinux_epoll_add(epoll.number, source.number, readiness.rawValue, tag)
        if result < 0 {
            sources.takeBack(source)
            throw SystemError("epoll_ctl", code: -result)
        }
    }

    /// Watches for something else from here on; what is ready already is reported.
    func change(_ source: Source, to readiness: Readiness) {
        _ = clinux_epoll_modify(epoll.number, source.number, readiness.rawValue, SourceTable.tag(source))
    }

    /// Forgets a source.
    ///
    /// - Parameter isClosing: its descriptor is closed next, and with that epoll forgets it too (epoll(7)).
    func remove(_ source: Source, isClosing: Bool = false) {
        if !isClosing { _ = clinux_epoll_remove(epoll.number, source.number) }
        sources.remove(source)
    }

    func deadline(of number: Int32) -> UInt32 { sources.deadline(of: number) }
    func setDeadline(_ second: UInt32, of number: Int32) { sources.setDeadline(second, of: number) }

    /// Checks from now on that the peer of `connection` takes what it is sent, until it has taken all of it.
    func watchProgress(of connection: Connection) {
        // Connections that come and go leave their checks behind.
        if progress.mayBeStale(sources.count) { progress.remove { [sources] in sources.find($0) == nil } }
        progress.add(SourceTable.tag(connection), at: second, stallSeconds: stallSeconds)
    }

    /// Runs `action` after `nanoseconds`, on the loop. To be called on the loop.
    @discardableResult
    public func schedule(after nanoseconds: UInt64, _ action: @escaping () -> Void) -> TimerID {
        preconditionOnLoop()
        return timers.add(due: now + nanoseconds, action)
    }

    public func cancel(_ timer: TimerID) { timers.cancel(timer) }

    /// Calls `body` with every connection of the loop.
    public func forEachConnection(_ body: (Connection) -> Void) {
        preconditionOnLoop()
        for number in 0..<sources.end { if let connection = sources[number] as? Connection { body(connection) } }
    }

    /// Calls `source` with `readiness` when it is its account's turn. To be called on the loop.
    func serveLater(_ source: Source, _ readiness: Readiness) {
        // It may have closed, or may not have been entered.
        guard let account = source.account, sources.find(SourceTable.tag(source)) === source else { return }
        wait(source, readiness, turns.row(of: account))
    }

    /// Runs `action` at the end of this iteration. To be called on the loop.
    public func `defer`(_ action: @escaping () -> Void) { deferred.append(action) }

    // MARK: Running

    /// Serves until `stop`; the calling thread is the loop's from then on.
    public func run() {
        let reports = UnsafeMutablePointer<clinux_event>.allocate(capacity: EventLoop.mostReports)
        defer { reports.deallocate() }
        now = EventLoop.monotonicNow()
        clinux_set_thread_owner(Unmanaged.passUnretained(self).toOpaque())
        while iterate(reports) {}
        for number in 0..<sources.end { (sources[number] as? Connection)?.closeLeavingRest() }
        sources.removeAll()
        wakeOwed()
        clinux_set_thread_owner(nil)
    }

    /// Reports that are fetched at once: the sources behind them in the kernel's list wait for all of these.
    private static let mostReports = 4_096

    /// One turn: wait, jobs, sockets, timers, the sweep. Returns whether to go on.
    ///
    /// Jobs come before sockets: what another thread told this loop before a peer could have heard of it is known when
    /// that peer's bytes are read.
    private func iterate(_ reports: UnsafeMutablePointer<clinux_event>) -> Bool {
        wakeOwed()
        figures.note(turn: EventLoop.monotonicNow() - now)
        let count = clinux_epoll_wait(epoll.number, reports, Int32(EventLoop.mostReports), mayWait() ? timeout() : 0)
        precondition(count >= 0, "epoll_wait failed: \(-count)")
        now = EventLoop.monotonicNow()
        turns.begin()
        let goOn = runInbox()
        serve(UnsafeBufferPointer(start: reports, count: Int(count)))
        while let action = timers.popDue(at: now) {
            action()
            wakeOwed()
        }
        let again = deferred
        deferred = []
        for action in again {
            action()
            wakeOwed()
        }
        sweepWhenDue()
        return goOn
    }

    /// So few sources that are ready, or jobs, are served as they come, and no clock is read.
    private static let few = 8

    private func serve(_ reports: UnsafeBufferPointer<clinux_event>) {
        turns.beginPrompt()
        let isBusy = reports.count > EventLoop.few || turns.hasWaiting
        if isBusy { stopwatch.start() }
        var sorted: Int?
        // The wake-up is never read: edge-triggered, each write to it is reported anew (epoll(7)), so none can be lost
        // between looking into the inbox and reading it.
        for report in reports where report.data != EventLoop.wakeupTag {
            guard let source = sources.find(report.data) else { continue }
            let readiness = Readiness(rawValue: report.events)
            let row = isBusy ? source.account.map { turns.row(of: $0) } : nil
            if let row, !turns.isPrompt(row) {
                wait(source, readiness, row)
                sorted = row
                continue
            }
            // Putting them there has taken that much time.
            if let row = sorted.take() { charge(row) }
            serve(source, readiness)
            if isBusy { charge(row) }
        }
        if turns.hasWaiting { serveWaiting() }
    }

    private func serveWaiting() {
        stopwatch.start()
        turns.beginWaiting()
        while let (tag, row) = turns.next() {
            guard let source = sources.find(tag) else { continue }
            serve(source, sources.takePending(source))
            // The sweep passed over it while it waited.
            if sources.find(tag) != nil, sources.takeDeadline(of: source, at: second) { source.timedOut() }
            charge(row)
        }
    }

    private func serve(_ source: Source, _ readiness: Readiness) {
        account = source.account
        source.ready(readiness)
        account = nil
        wakeOwed()
    }

    /// Charges the time since the last source was served; nil: to nobody.
    private func charge(_ row: Int?) {
        let nanoseconds = stopwatch.lap()
        if let row { turns.charge(nanoseconds, to: row) }
    }

    private func charge(job row: Int?) {
        let nanoseconds = stopwatch.lap()
        if let row { turns.charge(job: nanoseconds, to: row) }
    }

    private func wait(_ source: Source, _ readiness: Readiness, _ row: Int) {
        if sources.addPending(readiness, to: source) { turns.wait(SourceTable.tag(source), in: row) }
    }

    /// False: there is work. Otherwise whoever brings some from here on wakes the loop.
    private func mayWait() -> Bool {
        inbox.withLock { inbox in
            inbox.isAwake = !inbox.work.isEmpty
            return !inbox.isAwake
        }
    }

    /// Milliseconds until the next timer or sweep.
    private func timeout() -> Int32 {
        if !deferred.isEmpty || turns.hasWaiting { return 0 }
        guard let due = timers.nextDue else { return 1_000 }
        guard due > now else { return 0 }
        return Int32(min(1_000, (due - now + 999_999) / 1_000_000))
    }

    /// A request is a chain of jobs, each of which brings the next; sockets wait for so many of its links.
    private static let inboxPassesPerTurn = 8

    /// Does what is in the inbox, and what that brings. Returns whether to go on.
    private func runInbox() -> Bool {
        for _ in 0..<EventLoop.inboxPassesPerTurn {
            let isStopping = inbox.withLock { inbox in
                swap(&inbox.work, &taken)
                inbox.isAwake = true
                return inbox.isStopping
            }
            guard !taken.isEmpty else { return !isStopping }
            runTaken()
            wakeOwed()
            if isStopping { return false }
        }
        return true
    }

    /// Jobs after which the loops that they brought work are woken.
    private static let jobsBeforeWake = 32

    private func runTaken() {
        let isBusy = taken.count > EventLoop.few || turns.hasWaiting
        if isBusy { stopwatch.start() }
        for (index, work) in taken.enumerated() {
            account = work.account
            switch work.body {
            case .job(let job): job.runSynchronously(on: asUnownedTaskExecutor())
            case .isolated(let job, let executor): job.runSynchronously(on: executor)
            case .call(let body): body()
            }
            if isBusy { charge(job: work.account.map { turns.row(of: $0) }) }
            if index % EventLoop.jobsBeforeWake == EventLoop.jobsBeforeWake - 1 { wakeOwed() }
        }
        account = nil
        // Two arrays change places: neither is made anew each turn.
        taken.removeAll(keepingCapacity: taken.capacity <= 4_096)
    }

    /// Time limits are kept by one look a second at a row of numbers, not by a timer each.
    private func sweepWhenDue() {
        let second = second
        guard second != lastSweep else { return }
        lastSweep = second
        turns.redraw { [sources] tag in sources.find(tag)?.account }
        var number = 0
        while let source = sources.popDue(at: second, from: &number) { source.timedOut() }
        if !isCheckDeferred { checkProgress() }
    }

    private func checkProgress() {
        let end = EventLoop.monotonicNow() + ProgressWatch.turnNanoseconds
        while EventLoop.monotonicNow() < end {
            guard let check = progress.next(at: second) else { return }
            guard let connection = sources.find(check.tag) as? Connection else { continue }
            if let finding = connection.checkProgress(since: check.finding, at: second) {
                progress.add(check.tag, finding, stallSeconds: stallSeconds)
            }
        }
        isCheckDeferred = true
        self.defer { [self] in
            isCheckDeferred = false
            checkProgress()
        }
    }
}
