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
    private(set) var members: [LiveVisitor] = []
    private var goneCount = 0
    private var feeds: [EventFeed] = []
    var sweeping = Sweeping()

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
            sweeping.isForced = true
        case .configured: sweeping.isForced = true
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
