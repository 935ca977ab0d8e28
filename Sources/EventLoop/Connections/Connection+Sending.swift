import CLinux
import Glibc

extension Connection {
    /// Sends in order. Returns false where more than `outboxLimit` would wait: the peer does not read.
    @discardableResult
    public func send(_ bytes: UnsafeRawBufferPointer) -> Bool { send(bytes, of: nil) }

    /// Sends in order what others may hold or be sent too: what must wait is not copied.
    @discardableResult
    public func send(shared bytes: [UInt8]) -> Bool { bytes.withUnsafeBytes { send($0, of: bytes) } }

    /// - Parameter shared: the array whose bytes these are, all of them, where it may be kept as it is.
    private func send(_ bytes: UnsafeRawBufferPointer, of shared: [UInt8]?) -> Bool {
        guard phase == .open else { return true }
        if loop.cork.owner === self {
            if loop.cork.append(bytes) { return true }
            return sendCorked(then: bytes, of: shared)
        }
        if let outbox {
            guard outbox.orderedCount + bytes.count <= Int(outboxLimit) else { return false }
            if let shared { outbox.append(shared: shared) } else { outbox.append(bytes) }
            return true
        }
        keep(bytes, of: shared, from: trySend(bytes))
        return true
    }

    @discardableResult
    public func send(_ bytes: [UInt8]) -> Bool { bytes.withUnsafeBytes { send($0) } }

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

    // MARK: Together

    /// What `body` sends goes out in one call, as far as there is room to collect it.
    public func together(_ body: () -> Void) {
        guard loop.cork.owner == nil else { return body() }
        cork()
        body()
        uncork()
    }

    /// From here on until `uncork` what is sent is collected.
    private func cork() {
        guard outbox == nil, phase == .open else { return }
        loop.cork.owner = self
    }

    /// Sends what was collected.
    func uncork() {
        guard loop.cork.owner === self else { return }
        loop.cork.owner = nil
        guard loop.cork.count > 0 else { return }
        let bytes = loop.cork.bytes
        loop.cork.empty()
        if phase == .open { keep(bytes, from: trySend(bytes)) }
    }

    /// What was collected and what does not fit in behind it, in one call.
    private func sendCorked(then bytes: UnsafeRawBufferPointer, of shared: [UInt8]?) -> Bool {
        let first = loop.cork.bytes
        guard tls == nil, !first.isEmpty else {
            uncork()
            let isTaken = send(bytes, of: shared)
            cork()
            return isTaken
        }
        loop.cork.empty()
        let sent = trySend(first, then: bytes)
        if sent < first.count { keep(first, from: sent) }
        keep(bytes, of: shared, from: max(0, sent - first.count))
        if outbox != nil { loop.cork.owner = nil }
        return true
    }

    private func keep(_ bytes: UnsafeRawBufferPointer, of shared: [UInt8]? = nil, from taken: Int) {
        guard taken < bytes.count, phase == .open else { return }
        let kept = outbox ?? Outbox()
        if let shared {
            kept.append(shared: shared, from: taken)
        } else {
            kept.append(UnsafeRawBufferPointer(rebasing: bytes[taken...]))
        }
        outbox = kept
        awaitRoom()
    }

    func awaitRoom() {
        guard !awaitsRoom else { return }
        awaitsRoom = true
        loop.change(self, to: .incomingAndRoom)
    }

    // MARK: To the kernel

    private func trySend(_ bytes: UnsafeRawBufferPointer) -> Int {
        var taken = 0
        while taken < bytes.count {
            let rest = UnsafeRawBufferPointer(rebasing: bytes[taken...])
            let sent = tls?.write(rest, on: number) ?? clinux_send(number, rest.baseAddress!, rest.count)
            if sent >= 0 {
                taken += sent
            } else if sent != -Int(EINTR) {
                if sent != -Int(EAGAIN) { loop.defer { [self] in close() } }
                break
            }
        }
        noteSent(taken)
        return taken
    }

    private func noteSent(_ count: Int) {
        loop.figures.bytesSent.add(count)
        guard !isWatched, count > 0, isEntered else { return }
        isWatched = true
        loop.watchProgress(of: self)
    }

    private func trySend(_ first: UnsafeRawBufferPointer, then second: UnsafeRawBufferPointer) -> Int {
        // What makes it fail is met by the next call.
        let taken = max(0, clinux_send_two(number, first.baseAddress!, first.count, second.baseAddress!, second.count))
        noteSent(taken)
        return taken
    }

    func drain() {
        guard let outbox, phase != .lingering else {
            if phase == .closing { shutDown() }
            return
        }
        outbox.drain { trySend($0) }
        guard outbox.isEmpty else { return }
        self.outbox = nil
        switch phase {
        case .open: handler?.connectionDrained(self)
        case .closing:
            deadline = loop.second + Connection.lingerSeconds + 1
            shutDown()
        case .finishing: close()
        case .lingering, .closed: break
        }
    }
}
