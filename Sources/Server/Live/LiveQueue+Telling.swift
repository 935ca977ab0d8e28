import EventLoop
import Metrics
import QueueEngine
import QueueService
import Telemetry
import WebSocketProtocol

/// What the visitors on one loop are told of their queue, in the log's order. What concerns everyone takes several turns
/// of the loop where they are many; what comes after it waits.
struct Telling {
    /// How long the loop's other connections wait for it.
    static let sliceNanoseconds: UInt64 = 1_000_000

    enum News {
        case event(QueueEvent)
        case announcement(Announcement)
        case staleness(since: Timestamp?)
    }

    /// Something for everyone who was in line when it happened, on its way in ticket order.
    struct Round {
        /// Younger than all of them. Who comes later knows it from the greeting.
        let serial: UInt32
        /// From here on nobody has been told.
        var next: Ticket
        let tell: (LiveVisitor) -> Void
    }

    var untold: ArraySlice<(news: News, serial: UInt32)> = []
    var round: Round?

    var isUnderWay: Bool { round != nil || !untold.isEmpty }
}

extension LiveQueue {
    func tell(_ update: QueueUpdate) {
        tell(
            update.events.lazy.filter(\.isNews).compactMap { event in
                guard case .announced = event.change else { return .event(event) }
                return update.announcements.first { $0.seq == event.seq }.map { .announcement($0) }
            })
    }

    /// Since when what is shown may be old: the store cannot be written at all, or refuses this queue's changes.
    var staleSince: Timestamp? { snapshot.staleSince(outage: live.staleSince) }

    func notifyStaleness() {
        guard staleSince != notifiedStaleSince else { return }
        notifiedStaleSince = staleSince
        tell(CollectionOfOne(.staleness(since: staleSince)))
    }

    func tell(_ news: some Sequence<Telling.News>) {
        let wasUnderWay = telling.isUnderWay
        let serial = live.server.nextSerial()
        for one in news { telling.untold.append((one, serial)) }
        if !wasUnderWay { goOnTelling() }
    }

    /// Goes on for a while; then the loop's others have a turn, and the rest is for its next one.
    private func goOnTelling() {
        let end = EventLoop.monotonicNow() + Telling.sliceNanoseconds
        while telling.isUnderWay, EventLoop.monotonicNow() < end {
            if let round = telling.round {
                telling.round = goOn(round, until: end)
            } else if let (news, serial) = telling.untold.popFirst() {
                tell(news, serial)
            }
        }
        // A slice keeps what was taken from it until it is given up.
        guard telling.isUnderWay else { return telling = Telling() }
        live.loop.defer { [weak self] in self?.goOnTelling() }
    }

    /// What is left of the round; nil where everyone has been told.
    private func goOn(_ round: Telling.Round, until end: UInt64) -> Telling.Round? {
        var index = firstIndex(notBefore: round.next)
        while index < members.count, EventLoop.monotonicNow() < end {
            let start = index
            index = min(start + 32, members.count)
            // Where two connections show one ticket, both belong to the slice.
            while index < members.count, members[index].ticket == members[index - 1].ticket { index += 1 }
            forEachMember(in: start..<index) { visitor in
                if Int32(bitPattern: visitor.serial &- round.serial) < 0 { round.tell(visitor) }
            }
        }
        guard index < members.count else { return nil }
        var rest = round
        rest.next = members[index].ticket
        return rest
    }

    private func tell(_ news: Telling.News, _ serial: UInt32) {
        switch news {
        case .event(let event): tell(event, serial)
        case .announcement(let announcement):
            live.server.measurements.announcementFrames.increment(by: members.count)
            broadcast(serial) { LiveFrames.announcement(announcement, into: &$0) }
        case .staleness(let since): broadcast(serial) { LiveFrames.state(staleSince: since, into: &$0) }
        }
    }

    private func tell(_ event: QueueEvent, _ serial: UInt32) {
        switch event.change {
        case .admitted(let ticket, let until):
            for visitor in find(ticket) { visitor.admit(until: until, at: event.at) }
        case .completed(let ticket): for visitor in find(ticket) { visitor.finish("completed") }
        case .left(let ticket): for visitor in find(ticket) { visitor.finish("left") }
        case .expired(let ticket, _): for visitor in find(ticket) { visitor.finish("expired") }
        case .closed: everyone(serial) { if $0.isWaiting { $0.finish("closed") } }
        case .opened, .resumed: broadcast(serial) { LiveFrames.queue(.open, into: &$0) }
        case .paused: broadcast(serial) { LiveFrames.queue(.paused, into: &$0) }
        case .joined, .connected, .disconnected, .lost, .everyoneDisconnected, .announced, .configured: break
        }
    }

    /// Encodes a message once; the same bytes go to everyone who compresses alike.
    private func broadcast(_ serial: UInt32, _ write: (inout [UInt8]) -> Void) {
        live.encoder.reset()
        write(&live.encoder.payload)
        let message = SharedMessage(.text, &live.encoder)
        everyone(serial) { visitor in message.withFrame(for: visitor.webSocket.deflate) { visitor.send($0) } }
    }

    private func everyone(_ serial: UInt32, _ tell: @escaping (LiveVisitor) -> Void) {
        if let first = members.first { telling.round = Telling.Round(serial: serial, next: first.ticket, tell: tell) }
    }
}

extension QueueEvent {
    /// Whether somebody hears of it at once. Positions are for the sweep.
    fileprivate var isNews: Bool {
        switch change {
        case .joined, .connected, .disconnected, .lost, .everyoneDisconnected, .configured: false
        case .announced, .admitted, .completed, .left, .expired, .opened, .paused, .resumed, .closed: true
        }
    }
}
