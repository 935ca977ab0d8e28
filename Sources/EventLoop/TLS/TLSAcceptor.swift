import Glibc

/// A connection until its TLS handshake is done. Ends in exactly one call of `completed`.
///
/// A peer that says nothing costs this record: OpenSSL is asked only when the first byte is one of TLS.
public final class TLSAcceptor: Source {
    public enum Outcome {
        case secured(Connection)
        /// The first byte is none of TLS; it has not been read. Probably plain HTTP.
        case plain(Connection)
        /// The peer broke the protocol, or went.
        case failed
        case timedOut
        /// `began` or `refuse()` said so.
        case refused
    }

    private var descriptor: Descriptor?
    private let context: TLSContext
    private let began: (TLSAcceptor) -> Bool
    private let completed: (Outcome) -> Void
    private var stream: TLSStream?
    private let tag: UInt64
    override var account: UInt64? { tag == 0 ? ownAccount : tag }

    /// - Parameters:
    ///   - tag: whom its time is charged to, as a connection's is; 0: it has an account of its own.
    ///   - seconds: the handshake must be done within this.
    ///   - began: asked when the first byte has come, before any of it is computed; false: the peer is hung up on.
    public init(
        loop: EventLoop, owning descriptor: consuming Descriptor, context: TLSContext, tag: UInt64 = 0, seconds: UInt32,
        began: @escaping (TLSAcceptor) -> Bool = { _ in true }, completed: @escaping (Outcome) -> Void
    ) throws(SystemError) {
        let number = descriptor.number
        self.descriptor = consume descriptor
        self.context = context
        self.tag = tag
        self.began = began
        self.completed = completed
        super.init(loop: loop, number: number)
        try loop.add(self, for: .incomingAndRoom)
        deadline = loop.second + seconds + 1
    }

    override func ready(_ readiness: Readiness) {
        guard descriptor != nil else { return }
        if stream == nil {
            var first: UInt8 = 0
            let count = recv(number, &first, 1, Int32(MSG_PEEK))
            if count < 0, errno == EAGAIN || errno == EINTR { return }
            guard count > 0 else { return end(.failed) }
            // RFC 8446 §5.1: every first record is of type handshake (22).
            guard first == 22 else { return handOver { .plain($0) } }
            guard began(self) else { return end(.refused) }
            stream = TLSStream(context, transport: loop.tlsTransport)
        }
        switch stream!.handshake(on: number) {
        // All that has come was read before.
        case .waiting: if !readiness.isDisjoint(with: [.peerClosed, .hangup, .failed]) { end(.failed) }
        case .failed: end(.failed)
        case .done: handOver { .secured($0) }
        }
    }

    override func timedOut() { end(.timedOut) }

    /// Hangs up on a peer whose handshake is not done.
    public func refuse() { end(.refused) }

    public var isOver: Bool { descriptor == nil }

    private func handOver(_ outcome: (Connection) -> Outcome) {
        loop.remove(self)
        guard let owned = descriptor.take() else { return }
        let connection = Connection(loop: loop, owning: owned, tls: stream)
        stream = nil
        completed(outcome(connection))
    }

    private func end(_ outcome: Outcome) {
        guard descriptor != nil else { return }
        loop.remove(self)
        descriptor = nil
        stream = nil
        completed(outcome)
    }
}
