import CLinux
import Glibc

/// What serves a connection's bytes. Called on the connection's loop only.
public protocol ConnectionHandler: AnyObject {
    /// Bytes from the peer, in the loop's shared buffer: they are gone when this returns, and may be changed in place.
    func connection(_ connection: Connection, received bytes: inout MutableRawSpan)
    /// The peer will send nothing more.
    func connectionPeerClosed(_ connection: Connection)
    /// `deadline` has come.
    func connectionTimedOut(_ connection: Connection)
    /// Of what was sent while bytes were received, something waits: the kernel has no room for it.
    func connectionBlocked(_ connection: Connection)
    /// The peer takes too little of what the kernel has for it; the connection is closed next.
    func connectionGivenUp(_ connection: Connection)
    /// It is the turn of a connection that waited for it.
    func connectionHasTurn(_ connection: Connection)
    /// All that could not be sent at first has been sent.
    func connectionDrained(_ connection: Connection)
    /// The connection is gone; nothing more is called.
    func connectionClosed(_ connection: Connection)
}

extension ConnectionHandler {
    public func connectionPeerClosed(_ connection: Connection) { connection.closeWhenSent() }
    public func connectionBlocked(_ connection: Connection) {}
    public func connectionGivenUp(_ connection: Connection) {}
    public func connectionHasTurn(_ connection: Connection) {}
    public func connectionDrained(_ connection: Connection) {}
    public func connectionClosed(_ connection: Connection) {}
}

/// A stream socket on its loop, with or without TLS. While idle it is this record and nothing else: no task, no timer,
/// no buffer.
public final class Connection: Source {
    enum Phase: UInt8 {
        case open
        /// What waits is still sent; then FIN.
        case closing
        /// What waits is still sent; then it is over.
        case finishing
        /// FIN has gone, the peer's is awaited.
        case lingering
        case closed
    }

    // Small ones first: in this order the record fits into 96 bytes of the allocator's.
    private var descriptor: Descriptor?
    var phase = Phase.open
    var isReading = true
    var hasUnread = false
    /// The handler is given 8 kB at once instead of a buffer of the loop's.
    public var readsLittle = false
    /// Whether the loop tells when the kernel has room again: only from the first time on that it had none.
    var awaitsRoom = false
    /// A check that the peer takes what it was sent is ahead.
    var isWatched = false
    /// Most bytes that may wait in order; one more and `send` refuses.
    public var outboxLimit: Int32 = 64 * 1024
    let tls: TLSStream?
    var outbox: Outbox?
    public var handler: (any ConnectionHandler)?
    /// The owner's number for whom this connection, and the loop's time for it, is charged to; 0: it has an account of its own.
    public var tag: UInt64 = 0
    override var account: UInt64? { tag == 0 ? ownAccount : tag }

    /// Takes over a connected, non-blocking socket.
    public convenience init(loop: EventLoop, owning descriptor: consuming Descriptor) {
        self.init(loop: loop, owning: descriptor, tls: nil)
    }

    /// - Parameter tls: whose handshake is done.
    init(loop: EventLoop, owning descriptor: consuming Descriptor, tls: TLSStream?) {
        let number = descriptor.number
        self.descriptor = consume descriptor
        self.tls = tls
        super.init(loop: loop, number: number)
    }

    /// Begins to serve; the handler must be set.
    public func start() throws(SystemError) {
        try loop.add(self, for: awaitsRoom ? .incomingAndRoom : .incoming)
        // What came with the end of the TLS handshake lies in its buffers, and no event will tell of it.
        if tls != nil { receiveAgain() }
    }

    /// Lets the kernel keep at most about this many bytes that the peer has not taken. What is in the kernel can no
    /// longer be replaced by something newer.
    public func limitSendBuffer(_ bytes: Int32) { Socket.setOption(number, SOL_SOCKET, SO_SNDBUF, bytes) }

    public var isOpen: Bool { phase == .open }
    /// Bytes of the network that brought what the handler is being given: over TLS they are more, and cost more, than what they
    /// bring.
    public var receivedBytes: Int { loop.receivedBytes }
    /// Bytes that wait in order because the kernel had no room for them.
    public var unsentBytes: Int { outbox?.orderedCount ?? 0 }

    /// Whether the peer has acknowledged fewer than `leastBytesPerSecond` since its progress was noted last; false while that is less
    /// than `seconds` ago. Notes its progress anew with each verdict.
    ///
    /// Acknowledged bytes count, and not what the kernel accepts: its buffer may hold minutes of a slow reader's answer. `seconds`
    /// should be most of a minute: a steady reader's kernel acknowledges in steps as large as its receive buffer.
    public func isTooSlow(over seconds: UInt32) -> Bool {
        guard let outbox, let last = outbox.progress else {
            noteProgress()
            return false
        }
        let passed = loop.second &- last.second
        guard passed >= seconds else { return false }
        noteProgress()
        return outbox.progress!.acknowledged < last.acknowledged + UInt64(passed) * Connection.leastBytesPerSecond
    }

    /// Counts the peer's progress from here on.
    public func noteProgress() { outbox?.progress = (Socket.acknowledged(number), loop.second) }

    /// Checks that the peer takes what the kernel has for it, and gives it up where it has not, whatever it says meanwhile. Returns what
    /// waits; nil: nothing does, or the connection is over or about to be.
    ///
    /// - Parameter last: what was found before, `stallSeconds` ago or longer.
    func checkProgress(since last: ProgressWatch.Finding?, at second: UInt32) -> ProgressWatch.Finding? {
        guard phase == .open, Socket.holdsUnacknowledged(number) else {
            isWatched = false
            return nil
        }
        // In this order: what is acknowledged between the two is not asked for again.
        let acknowledged = UInt32(truncatingIfNeeded: Socket.acknowledged(number))
        let waiting = Socket.unacknowledged(number)
        // Whether a peer is too slow for what waits in the outbox as well, the handler decides.
        guard outbox != nil || last?.isMet(by: acknowledged, at: second) ?? true else {
            handler?.connectionGivenUp(self)
            close()
            return nil
        }
        return ProgressWatch.Finding(second: second, acknowledged: acknowledged, waiting: waiting)
    }

    /// The least that a peer must acknowledge while something waits for it.
    public static let leastBytesPerSecond: UInt64 = 256

    /// Calls the handler when it is the connection's turn, behind the sources that wait already.
    public func waitForTurn() { loop.serveLater(self, .turn) }

    override func ready(_ readiness: Readiness) {
        // Both directions have ended: nobody is there for what is still unread or unsent.
        if !isReading, !readiness.isDisjoint(with: [.hangup, .failed]) { return close() }
        if readiness.contains(.writable) { drain() }
        if readiness.contains(.turn), phase == .open { handler?.connectionHasTurn(self) }
        // After an error or a hang-up `recv` says which it was.
        let ending = !readiness.isDisjoint(with: [.peerClosed, .hangup, .failed])
        if ending || readiness.contains(.readable) { receive(toTheEnd: ending) }
    }

    // MARK: Ending

    override func timedOut() {
        if phase == .open { return handler?.connectionTimedOut(self) ?? () }
        // Closed now, the kernel would hold what the peer has not acknowledged for minutes.
        if outbox == nil, Socket.holdsUnacknowledged(number) { outbox = Outbox() }
        guard outbox != nil else { return close() }
        // A peer that goes on reading gets all that waits for it, however long that takes.
        if !isTooSlow(over: loop.stallSeconds) { return setLastDeadline() }
        if Socket.holdsUnacknowledged(number) {
            handler?.connectionGivenUp(self)
            Socket.resetWhenClosed(number)
        }
        close()
    }

    /// The peer must take what waits; then its FIN is awaited.
    private func setLastDeadline() {
        if outbox?.progress == nil { noteProgress() }
        deadline = loop.second + (outbox == nil ? Connection.lingerSeconds : loop.stallSeconds) + 1
    }

    /// How long the peer's FIN is awaited.
    static let lingerSeconds: UInt32 = 5

    /// Sends what waits, as long as the peer goes on taking it, then says FIN (over TLS `close_notify` first, RFC 8446 §6.1) and
    /// waits for the peer's, so that the last bytes are not lost to a reset.
    public func closeWhenSent() {
        guard phase == .open else { return }
        uncork()
        guard phase == .open else { return }
        phase = .closing
        outbox?.dropReplaceable()
        if outbox?.isEmpty ?? true { outbox = nil }
        setLastDeadline()
        if outbox == nil { shutDown() }
    }

    /// Sends what waits and then closes. For a peer that has said its last: nothing can be on its way that a closed
    /// socket would answer with a reset, which could destroy what was sent.
    public func finish() {
        guard phase == .open, tls == nil else { return closeWhenSent() }
        uncork()
        guard phase == .open else { return }
        outbox?.dropReplaceable()
        if outbox?.isEmpty ?? true {
            // The kernel sends the little that it has. What the peer does not take would stay there for minutes.
            return Socket.unacknowledged(number) > Connection.mostLeftToKernel ? closeWhenSent() : closeLeavingRest()
        }
        phase = .finishing
        setLastDeadline()
    }

    func shutDown() {
        outbox = nil
        // The kernel may have no room just now for those last bytes; then it says when it has.
        if let tls, !tls.sendClosing(on: number) { return awaitRoom() }
        phase = .lingering
        isReading = true
        Glibc.shutdown(number, Int32(SHUT_WR))
        receiveAgain()
    }

    /// Bytes that the kernel may keep for a connection that is closed and counts for nobody any more.
    static let mostLeftToKernel: Int32 = 4_096

    /// Closes at once. What was not sent, and what the peer of an open connection has not acknowledged, is lost: where that is
    /// something, the connection is reset, so that the peer does not take what it has for all, and the kernel keeps nothing for it.
    public func close() {
        guard phase != .closed else { return }
        uncork()
        if outbox?.isEmpty == false || phase == .open && Socket.holdsUnacknowledged(number) { Socket.resetWhenClosed(number) }
        closeLeavingRest()
    }

    /// Closes at once, and leaves to the kernel what it has.
    func closeLeavingRest() {
        guard phase != .closed else { return }
        phase = .closed
        if isEntered { loop.remove(self, isClosing: true) } else { abandon() }
        descriptor = nil
        outbox = nil
        let handler = handler
        self.handler = nil
        handler?.connectionClosed(self)
    }
}
