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

    /// - Parameters:
    ///   - seconds: the handshake must be done within this.
    ///   - began: asked when the first byte has come, before any of it is computed; false: the peer is hung up on.
    public init(
        loop: EventLoop, owning descriptor: consuming Descriptor, context: TLSContext, seconds: UInt32,
        began: @escaping (TLSAcceptor) -> Bool = { _ in true }, completed: @escaping (Outcome) -> Void
    ) throws(SystemError) {
        let number = descriptor.number
        self.descriptor = consume descriptor
        self.context = context
        self.began = began
        self.completed = completed
        super.init(loop: loop, number: number)
        try loop.add(self, for: .incomingAndRoom)
        deadline = loop.second + seconds + 1
    }

    override func ready(_ readiness: Readiness) {
        guard descriptor != nil else { return }
        if stream == nil {
            var head = InlineArray<32, UInt8>(repeating: 0)
            let count = peek(&head)
            if count < 0, errno == EAGAIN || errno == EINTR { return }
            guard count > 0 else { return end(.failed) }
            // RFC 8446 §5.1: every first record is of type handshake (22).
            guard head[0] == 22 else { return handOver { .plain($0) } }
            guard let length = TLSAcceptor.announcedLength(head.span.extracting(first: count)) else {
                // The rest is reported when it comes.
                if !readiness.isDisjoint(with: [.peerClosed, .hangup, .failed]) { end(.failed) }
                return
            }
            // OpenSSL makes room for 128 kB as soon as they are announced.
            guard length <= TLSAcceptor.longestHello else { return end(.failed) }
            guard began(self) else { return end(.refused) }
            stream = TLSStream(context, transport: loop.tlsTransport)
        }
        switch stream!.handshake(on: number) {
        case .waiting: if !readiness.isDisjoint(with: [.hangup, .failed]) { end(.failed) }
        case .failed: end(.failed)
        case .done: handOver { .secured($0) }
        }
    }

    /// Bytes of a first message; clients' are some hundred, or two thousand with keys for a time after quantum computers.
    private static let longestHello = 16_384

    private func peek(_ head: inout InlineArray<32, UInt8>) -> Int {
        var span = head.mutableSpan
        return span.withUnsafeMutableBytes { recv(number, $0.baseAddress!, $0.count, Int32(MSG_PEEK)) }
    }

    /// What the first message says of its length (RFC 8446 §4), which may be cut into records anywhere (§5.1); nil: that has not come
    /// yet. A record that is empty or none of the handshake's is for OpenSSL to refuse.
    private static func announcedLength(_ bytes: Span<UInt8>) -> Int? {
        var (position, taken, length) = (0, 0, 0)
        while position + 5 <= bytes.count {
            let size = Int(bytes[position + 3]) << 8 | Int(bytes[position + 4])
            if bytes[position] != 22 || size == 0 { return 0 }
            for index in position + 5..<min(position + 5 + size, bytes.count) {
                if taken > 0 { length = length << 8 | Int(bytes[index]) }
                taken += 1
                if taken == 4 { return length }
            }
            position += 5 + size
        }
        return nil
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
