import Glibc

/// The line or block with which a proxy begins a connection, saying for whom it is (HAProxy's "The PROXY protocol",
/// versions 1 and 2).
public enum ProxyHeader: Equatable, Sendable {
    /// More bytes are needed to tell.
    case incomplete
    /// A header of `length` bytes. `source` is nil where the proxy speaks for itself (a health check), or for a kind of
    /// address that is none here.
    case header(source: SocketAddress?, length: Int)
    /// No PROXY header.
    case invalid

    /// Version 1 is at most 107 bytes; of version 2 this much is taken, which holds a client's certificate
    /// (PP2_SUBTYPE_SSL_CLIENT_CERT).
    static let maximumSize = 16_384

    private static let signature: [UInt8] = [0x0D, 0x0A, 0x0D, 0x0A, 0x00, 0x0D, 0x0A, 0x51, 0x55, 0x49, 0x54, 0x0A]

    /// Looks at the first bytes of a connection.
    public static func parse(_ bytes: UnsafeRawBufferPointer) -> ProxyHeader {
        if bytes.starts(with: signature.prefix(bytes.count)) { return bytes.count < 16 ? .incomplete : version2(bytes) }
        if bytes.starts(with: Array("PROXY ".utf8).prefix(bytes.count)) { return version1(bytes) }
        return .invalid
    }

    /// `PROXY TCP4 192.0.2.1 192.0.2.2 56324 443\r\n`
    private static func version1(_ bytes: UnsafeRawBufferPointer) -> ProxyHeader {
        guard let end = bytes.prefix(107).firstIndex(of: 0x0A) else { return bytes.count < 107 ? .incomplete : .invalid }
        guard end > 0, bytes[end - 1] == 0x0D else { return .invalid }
        let words = bytes[..<(end - 1)].split(separator: 0x20, omittingEmptySubsequences: false).map { String(decoding: $0, as: UTF8.self) }
        if words.count >= 2, words[1] == "UNKNOWN" { return .header(source: nil, length: end + 1) }
        guard words.count == 6, let port = port(words[4]), self.port(words[5]) != nil else { return .invalid }
        let (source, target): (SocketAddress?, SocketAddress?)
        switch words[1] {
        case "TCP4":
            (source, target) = (SocketAddress(numeric: words[2], isIPv6: false, port), SocketAddress(numeric: words[3], isIPv6: false, 0))
        case "TCP6":
            (source, target) = (SocketAddress(numeric: words[2], isIPv6: true, port), SocketAddress(numeric: words[3], isIPv6: true, 0))
        default: return .invalid
        }
        guard let source, target != nil else { return .invalid }
        return .header(source: source, length: end + 1)
    }

    private static func port(_ text: String) -> UInt16? {
        guard let port = UInt16(text), String(port) == text else { return nil }
        return port
    }

    /// 12 bytes of signature, version and command, family, 16 bits of length, then the addresses.
    private static func version2(_ bytes: UnsafeRawBufferPointer) -> ProxyHeader {
        let (command, family) = (bytes[12], bytes[13])
        let length = 16 + Int(bytes[14]) << 8 + Int(bytes[15])
        guard command >> 4 == 2, command & 0x0F <= 1, length <= maximumSize else { return .invalid }
        guard bytes.count >= length else { return .incomplete }
        // LOCAL: the proxy's own connection.
        if command & 0x0F == 0 { return .header(source: nil, length: length) }
        func port(_ offset: Int) -> UInt16 { UInt16(bytes[offset]) << 8 | UInt16(bytes[offset + 1]) }
        switch family {
        case 0x11 where length >= 28: return .header(source: SocketAddress(host: Array(bytes[16..<20]), port: port(24)), length: length)
        case 0x21 where length >= 52: return .header(source: SocketAddress(host: Array(bytes[16..<32]), port: port(48)), length: length)
        case 0x11, 0x21: return .invalid
        default: return .header(source: nil, length: length)
        }
    }
}

/// A connection until its PROXY header has come. Ends in exactly one call of `completed`.
public final class ProxyHeaderReader: Source {
    public enum Outcome {
        /// The header was read, and nothing behind it.
        case known(SocketAddress?)
        /// No header came, or a wrong one, or the peer went.
        case failed
        case timedOut
    }

    private var descriptor: Descriptor?
    private let completed: (consuming Descriptor?, Outcome) -> Void

    /// - Parameter seconds: the header must be here within this.
    public init(
        loop: EventLoop, owning descriptor: consuming Descriptor, seconds: UInt32,
        completed: @escaping (consuming Descriptor?, Outcome) -> Void
    ) throws(SystemError) {
        let number = descriptor.number
        self.descriptor = consume descriptor
        self.completed = completed
        super.init(loop: loop, number: number)
        try loop.add(self, for: .incoming)
        deadline = loop.second + seconds + 1
    }

    override func ready(_ readiness: Readiness) {
        // Looked at first and then taken to its last byte: what follows belongs to TLS or HTTP.
        let room = UnsafeMutableRawBufferPointer(rebasing: loop.receiveBuffer[..<ProxyHeader.maximumSize])
        let count = recv(number, room.baseAddress!, room.count, Int32(MSG_PEEK))
        if count < 0, errno == EAGAIN || errno == EINTR { return }
        guard count > 0 else { return end(.failed) }
        switch ProxyHeader.parse(UnsafeRawBufferPointer(rebasing: room[..<count])) {
        case .incomplete: if !readiness.isDisjoint(with: [.peerClosed, .hangup, .failed]) { end(.failed) }
        case .invalid: end(.failed)
        case .header(let source, let length):
            guard recv(number, room.baseAddress!, length, 0) == length else { return end(.failed) }
            end(.known(source))
        }
    }

    override func timedOut() { end(.timedOut) }

    private func end(_ outcome: Outcome) {
        guard let owned = descriptor.take() else { return }
        loop.remove(self)
        if case .known = outcome { completed(owned, outcome) } else { completed(nil, outcome) }
    }
}
