import CLinux
import Glibc

extension Connection {
    /// Stops reading; the kernel's window then stops the peer.
    public func pauseReading() { isReading = false }

    public func resumeReading() {
        guard !isReading else { return }
        isReading = true
        if hasUnread { receiveAgain() }
    }

    /// Bytes that the handler is given at once: it may have to keep what it cannot use yet.
    private var mostAtOnce: Int { readsLittle ? 8_192 : EventLoop.receiveBufferSize }

    private enum Received { case bytes(Int), nothing, end, failure }

    /// Reads before others have a turn: a TLS record may bring a single byte.
    private static let mostReads = 32

    /// Reads what there is, one buffer of the loop at most: who has more to say gives the others a turn.
    ///
    /// A buffer that was not filled has emptied the socket, and what comes later is reported anew (epoll(7)); only an
    /// end that was reported together with the last bytes must be looked for.
    func receive(toTheEnd: Bool = true) {
        var room = EventLoop.receiveBufferSize
        while room > 0 {
            guard phase != .closed else { return }
            guard isReading || phase == .lingering else {
                hasUnread = true
                return
            }
            let buffer = UnsafeMutableRawBufferPointer(rebasing: loop.receiveBuffer[..<min(room, mostAtOnce)])
            switch read(into: buffer, toTheEnd: toTheEnd) {
            case .nothing:
                hasUnread = false
                return
            case .failure: return Socket.unacknowledged(number) <= Connection.mostLeftToKernel ? closeLeavingRest() : close()
            case .end: return receiveEnd()
            case .bytes(let count):
                loop.receivedBytes = tls?.takeReceived() ?? count
                loop.figures.bytesReceived.add(count)
                deliver(UnsafeMutableRawBufferPointer(rebasing: buffer[..<count]))
                if count < buffer.count, !toTheEnd, tls == nil {
                    hasUnread = false
                    return
                }
                room -= max(count, EventLoop.receiveBufferSize / Connection.mostReads)
            }
        }
        hasUnread = true
        receiveAgain()
    }

    /// Reads on when it is the connection's turn, to the end, which may have been reported already.
    func receiveAgain() { loop.serveLater(self, [.readable, .peerClosed]) }

    /// Hands the handler what came behind the request that made it the handler.
    public func receive(rest bytes: [UInt8]) {
        guard !bytes.isEmpty, let handler else { return }
        var bytes = bytes
        loop.receivedBytes = bytes.count
        bytes.withUnsafeMutableBytes { raw in
            var span = MutableRawSpan(_unsafeBytes: raw)
            handler.connection(self, received: &span)
        }
    }

    private func deliver(_ bytes: UnsafeMutableRawBufferPointer) {
        guard phase == .open, let handler else { return }
        together {
            var span = MutableRawSpan(_unsafeBytes: bytes)
            handler.connection(self, received: &span)
        }
        if outbox != nil, phase == .open { self.handler?.connectionBlocked(self) }
    }

    private func read(into buffer: UnsafeMutableRawBufferPointer, toTheEnd: Bool) -> Received {
        // What follows a closed TLS stream is the end of the socket beneath it.
        if let tls, phase == .open {
            switch tls.read(into: buffer, on: number, toTheEnd: toTheEnd) {
            case .bytes(let count): return .bytes(count)
            case .nothing: return .nothing
            case .end: return .end
            case .failure: return .failure
            }
        }
        while true {
            let count = clinux_receive(number, buffer.baseAddress!, buffer.count)
            if count > 0 { return .bytes(count) }
            if count == 0 { return .end }
            if count == -Int(EAGAIN) { return .nothing }
            if count != -Int(EINTR) { return .failure }
        }
    }

    private func receiveEnd() {
        switch phase {
        case .open:
            isReading = false
            hasUnread = false
            handler?.connectionPeerClosed(self)
        case .closing, .finishing, .closed: break
        // The rest of what the kernel has is awaited, like a peer's FIN.
        case .lingering: if Socket.unacknowledged(number) <= Connection.mostLeftToKernel { closeLeavingRest() }
        }
    }
}
