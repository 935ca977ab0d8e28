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
    /// The newest first: what who comes later is greeted with.
    private(set) var announcements: [Announcement]
    private(set) var members: [LiveVisitor] = []
    private var goneCount = 0
    private var feeds: [EventFeed] = []
    /// Gone, or replaced by its other history: whoever is in it is being told.
    private(set) var isRetired = false
    /// The service does not keep it in memory any more.
    var isAtRest = false
    /// No connection of this loop is in it or follows it.
    var isUnused: Bool { feeds.isEmpty && members.count == goneCount }
    var sweeping = Sweeping()
    var telling = Telling()
    /// What visitors know of `staleSince`.
    var notifiedStaleSince: Timestamp?

    init(live: LiveLoop, _ update: QueueUpdate) {
        self.live = live
        snapshot = update.snapshot
        announcements = update.announcements.reversed()
        notifiedStaleSince = staleSince
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
        if isAtRest { live.dropIfUnused(snapshot.record.id) } else { scheduleSweep() }
    }

    func add(_ feed: EventFeed) { feeds.append(feed) }
    func remove(_ feed: EventFeed) {
        feeds.removeAll { $0 === feed }
        if isAtRest { live.dropIfUnused(snapshot.record.id) }
    }

    func find(_ ticket: Ticket) -> ArraySlice<LiveVisitor> {
        let start = firstIndex(notBefore: ticket)
        return members[start...].prefix { $0.ticket == ticket }
    }

    func firstIndex(notBefore ticket: Ticket) -> Int {
        var (low, high) = (0, members.count)
        while low < high {
            let middle = (low + high) / 2
            if members[middle].ticket < ticket { low = middle + 1 } else { high = middle }
        }
        return low
    }

    /// Forgets whose connections are gone.
    func compact() {
        guard goneCount > 0 else { return }
        members.removeAll { $0.isGone }
        goneCount = 0
    }

    /// In ticket order, the next ones on their way from memory meanwhile.
    func forEachMember(in range: Range<Int>, _ body: (LiveVisitor) -> Void) {
        let members = members
        let span = members.span
        for index in range {
            if index + 8 < span.count { prefetch(span[index + 8]) }
            if index + 4 < span.count { prefetch(span[index + 4].connection) }
            // The list above keeps them all: none is counted again.
            Unmanaged.passUnretained(span[index])._withUnsafeGuaranteedRef(body)
        }
    }

    // MARK: Changes

    func apply(_ update: QueueUpdate) {
        guard update.snapshot.state.head >= snapshot.state.head else { return }
        // What has happened between is not known: everyone is shown anew.
        let isSkipping = update.snapshot.state.head > snapshot.state.head + UInt64(update.events.count)
        snapshot = update.snapshot
        notifyStaleness()
        isAtRest = false
        if !update.announcements.isEmpty { announcements.prepend(update.announcements) }
        closeReplaced(update.movedAway)
        tell(update)
        for feed in feeds { feed.poke() }
        if isSkipping || update.events.contains(where: \.changesWhatIsShown) { sweeping.isForced = true }
        if isSkipping || update.events.contains(where: \.movesTheLine) { scheduleSweep() }
    }

    /// Lets connections go whose visitors have shown up at another instance since. One that is newer than that stays,
    /// and says so.
    ///
    /// The service counts none of the connections that it has answered before this, and they are all in the list, because a loop is
    /// told everything in the service's order; those that come later it counts anew.
    private func closeReplaced(_ moved: [(ticket: Ticket, at: Timestamp)]) {
        var newer: [(ticket: Ticket, at: Timestamp)] = []
        // A visitor may have been to several instances. Once each: a connection that says twice that it stays is counted twice.
        for (ticket, moment) in Dictionary(moved.map { ($0.ticket, $0.at) }, uniquingKeysWith: max) {
            for visitor in find(ticket) where visitor.holdsTicket {
                let isOpen = visitor.phase == .waiting || visitor.phase == .admitted
                // Of two that came at the same moment the one that is later in the log stays.
                guard !isOpen || visitor.cameAt <= moment else {
                    newer.append((ticket, visitor.cameAt))
                    continue
                }
                // Its end may come after its visitor has come back here, also where it has been sent away already.
                visitor.holdsTicket = false
                if isOpen { visitor.end(.replaced) }
            }
        }
        guard !newer.isEmpty else { return }
        let (service, snapshot, stay) = (live.server.service, snapshot, newer)
        Task(executorPreference: live.loop) {
            await service.stayed(snapshot.record.id, in: snapshot.record.epoch, asOf: snapshot.state.head, stay)
        }
    }

    /// The queue is gone: everyone is told, and readers of events when they have its whole log. Its deletion has ended every
    /// admission, whether or not word of that has come here.
    func close() {
        retire { visitor, _, _ in visitor.finish(visitor.phase == .admitted ? "expired" : "closed") }
        for feed in feeds { feed.finish() }
    }

    /// The store was restored from an older copy, and `other` is the queue from here on. Everyone comes again and shows who
    /// they are; readers of events are told by what they read.
    func restart(as other: LiveQueue) {
        other.feeds = feeds
        feeds = []
        retire { visitor, _, _ in
            visitor.holdsTicket = false
            visitor.drain(afterSeconds: Double.random(in: 0.5...3))
        }
        for feed in other.feeds { feed.poke() }
    }

    func drain(_ plan: DrainPlan) {
        tellEveryone { visitor, index, count in
            visitor.drain(afterSeconds: plan.moment(of: index, among: count, random: .random(in: 0...1)))
        }
    }

    /// Nothing is told of the queue any more but this.
    private func retire(_ tell: @escaping (LiveVisitor, _ index: Int, _ count: Int) -> Void) {
        isRetired = true
        telling = Telling()
        tellEveryone(tell)
    }

    /// Tells everyone who is here now, in ticket order, in as many turns of the loop as it takes.
    private func tellEveryone(_ tell: @escaping (LiveVisitor, _ index: Int, _ count: Int) -> Void) {
        LiveQueue.goOn(members, from: 0, live.loop, tell)
    }

    private static func goOn(
        _ members: [LiveVisitor], from start: Int, _ loop: EventLoop, _ tell: @escaping (LiveVisitor, Int, Int) -> Void
    ) {
        let end = EventLoop.monotonicNow() + Telling.sliceNanoseconds
        var index = start
        while index < members.count {
            tell(members[index], index, members.count)
            index += 1
            if index % 16 == 0, EventLoop.monotonicNow() >= end { break }
        }
        guard index < members.count else { return }
        loop.defer { [index] in goOn(members, from: index, loop, tell) }
    }
}

extension QueueEvent {
    /// Whether somebody's position, wait or standing can be another one after it.
    fileprivate var movesTheLine: Bool {
        switch change {
        case .announced, .connected, .disconnected, .lost, .everyoneDisconnected: false
        case .joined, .admitted, .completed, .left, .expired, .opened, .paused, .resumed, .closed, .configured: true
        }
    }

    /// Whether everyone's wait is another one after it, also where no position is.
    fileprivate var changesWhatIsShown: Bool {
        switch change {
        case .opened, .paused, .resumed, .configured: true
        default: false
        }
    }
}
