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
    /// All that could not be sent at first has been sent.
    func connectionDrained(_ connection: Connection)
    /// The connection is gone; nothing more is called.
    func connectionClosed(_ connection: Connection)
}

extension ConnectionHandler {
    public func connectionPeerClosed(_ connection: Connection) { connection.closeWhenSent() }
    public func connectionDrained(_ connection: Connection) {}
    public func connectionClosed(_ connection: Connection) {}
}

/// A stream socket on its loop. While idle it is this record and nothing else: no task, no timer, no buffer.
public final class Connection: Source {
    private enum Phase: UInt8 { case open, closing, lingering, closed }

    private var descriptor: Descriptor?
    private var outbox: Outbox?
    public var handler: (any ConnectionHandler)?
    /// The loop's second at which the handler is told that time is up; 0: never.
    public var deadline: UInt32 = 0
    /// Most bytes that may wait in order; one more and `send` refuses.
    public var outboxLimit: Int32 = 64 * 1024
    private var phase = Phase.open
    private var isReading = true
    private var hasUnread = false

    /// Takes over a connected, non-blocking socket.
    public init(loop: EventLoop, owning descriptor: consuming Descriptor) {
        let number = descriptor.number
        self.descriptor = consume descriptor
        super.init(loop: loop, number: number)
    }

    /// Begins to serve; the handler must be set.
    public func start() throws(SystemError) {
        Socket.setOption(number, Int32(IPPROTO_TCP), TCP_NODELAY)
        try loop.add(self, for: [.readable, .writable, .peerClosed])
    }

    public var isOpen: Bool { phase == .open }
    public var unsentBytes: Int { outbox?.orderedCount ?? 0 }

    // MARK: Sending

    /// Sends in order. Returns false where more than `outboxLimit` would wait: the peer does not read.
    @discardableResult
    public func send(_ bytes: UnsafeRawBufferPointer) -> Bool {
        guard phase == .open else { return true }
        if let outbox {
            guard outbox.orderedCount + bytes.count <= Int(outboxLimit) else { return false }
            outbox.append(bytes)
            return true
        }
        let taken = trySend(bytes)
        if taken < bytes.count, phase == .open {
            let kept = Outbox()
            kept.append(UnsafeRawBufferPointer(rebasing: bytes[taken...]))
            outbox = kept
        }
        return true
    }

    @discardableResult
    public func send(_ bytes: [UInt8]) -> Bool { bytes.withUnsafeBytes { send($0) } }

    /// Sends a header and what it belongs to in one system call, from where they lie.
    @discardableResult
    public func send(_ header: UnsafeRawBufferPointer, then payload: UnsafeRawBufferPointer) -> Bool {
        guard phase == .open, outbox == nil else { return send(header) && send(payload) }
        var parts = [
            iovec(iov_base: UnsafeMutableRawPointer(mutating: header.baseAddress), iov_len: header.count),
            iovec(iov_base: UnsafeMutableRawPointer(mutating: payload.baseAddress), iov_len: payload.count),
        ]
        let sent = max(
            0,
            parts.withUnsafeMutableBufferPointer { parts in
                var message = msghdr()
                message.msg_iov = parts.baseAddress
                message.msg_iovlen = parts.count
                return sendmsg(number, &message, Int32(MSG_NOSIGNAL))
            })
        // What it did not take, and what made it fail, is met by the ordinary way.
        if sent < header.count { send(UnsafeRawBufferPointer(rebasing: header[sent...])) }
        let rest = max(0, sent - header.count)
        return rest == payload.count || send(UnsafeRawBufferPointer(rebasing: payload[rest...]))
    }

    /// Sends what must still be said to a peer that is being sent away, whatever waits already: a close frame.
    public func sendLast(_ bytes: [UInt8]) {
        let limit = outboxLimit
        outboxLimit = .max
        send(bytes)
        outboxLimit = limit
    }

    /// Sends, or takes the place of what was given here before and has not been sent.
    /// Returns whether older bytes were replaced.
    @discardableResult
    public func sendReplaceable(_ bytes: UnsafeRawBufferPointer) -> Bool {
        guard phase == .open else { return false }
        if let outbox {
            let before = outbox.conflated
            outbox.replace(bytes)
            return outbox.conflated > before
        }
        send(bytes)
        return false
    }

    /// Forgets an unsent replaceable message: what follows says more.
    public func dropReplaceable() { outbox?.dropReplaceable() }

    private func trySend(_ bytes: UnsafeRawBufferPointer) -> Int {
        var taken = 0
        while taken < bytes.count {
            let sent = Glibc.send(number, bytes.baseAddress! + taken, bytes.count - taken, Int32(MSG_NOSIGNAL))
            if sent >= 0 {
                taken += sent
            } else if errno != EINTR {
                if errno != EAGAIN { loop.defer { [self] in close() } }
                break
            }
        }
        return taken
    }

    private func drain() {
        guard let outbox else { return }
        outbox.drain { trySend($0) }
        guard outbox.isEmpty else { return }
        self.outbox = nil
        if phase == .closing { shutDown() } else { handler?.connectionDrained(self) }
    }

    // MARK: Receiving

    /// Stops reading; the kernel's window then stops the peer.
    public func pauseReading() { isReading = false }

    public func resumeReading() {
        guard !isReading else { return }
        isReading = true
        if hasUnread { loop.defer { [self] in receive() } }
    }

    override func ready(_ readiness: Readiness) {
        if readiness.contains(.writable) { drain() }
        // After an error or a hang-up `recv` says which it was.
        let ending = !readiness.isDisjoint(with: [.peerClosed, .hangup, .failed])
        if ending || readiness.contains(.readable) { receive(toTheEnd: ending) }
    }

    /// A buffer that was not filled has emptied the socket, and what comes later is reported anew (epoll(7));
    /// only an end that was reported together with the last bytes must be looked for.
    private func receive(toTheEnd: Bool = true) {
        // One connection with much to say gives the others a turn after four full buffers.
        for _ in 0..<4 {
            guard phase != .closed else { return }
            guard isReading || phase == .lingering else {
                hasUnread = true
                return
            }
            let buffer = loop.receiveBuffer
            let count = recv(number, buffer.baseAddress!, buffer.count, 0)
            if count < 0, errno == EINTR { continue }
            if count < 0, errno == EAGAIN {
                hasUnread = false
                return
            }
            if count < 0 { return close() }
            if count == 0 { return receiveEnd() }
            if phase == .open {
                var span = MutableRawSpan(_unsafeBytes: UnsafeMutableRawBufferPointer(rebasing: buffer[..<count]))
                handler?.connection(self, received: &span)
            }
            if count < buffer.count, !toTheEnd {
                hasUnread = false
                return
            }
        }
        hasUnread = true
        loop.defer { [self] in if hasUnread { receive() } }
    }

    private func receiveEnd() {
        switch phase {
        case .open:
            isReading = false
            hasUnread = false
            handler?.connectionPeerClosed(self)
        case .closing: break
        case .lingering: close()
        case .closed: break
        }
    }

    // MARK: Ending

    override func sweep(at second: UInt32) {
        guard deadline != 0, second >= deadline else { return }
        deadline = 0
        if phase == .open { handler?.connectionTimedOut(self) } else { close() }
    }

    /// Sends what waits, then says FIN and waits at most `seconds` for the peer's, so that the last bytes are not
    /// lost to a reset.
    public func closeWhenSent(within seconds: UInt32 = 5) {
        guard phase == .open else { return }
        phase = .closing
        deadline = loop.second + seconds + 1
        outbox?.dropReplaceable()
        if outbox?.isEmpty ?? true { shutDown() }
    }

    private func shutDown() {
        outbox = nil
        phase = .lingering
        isReading = true
        Glibc.shutdown(number, Int32(SHUT_WR))
        loop.defer { [self] in if phase == .lingering { receive() } }
    }

    /// Closes at once. What was not sent is lost.
    public func close() {
        guard phase != .closed else { return }
        phase = .closed
        if generation != 0 { loop.remove(self) }
        descriptor = nil
        outbox = nil
        let handler = handler
        self.handler = nil
        handler?.connectionClosed(self)
    }
}
