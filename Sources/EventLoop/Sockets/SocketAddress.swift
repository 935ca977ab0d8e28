import Glibc

/// An IPv4 or IPv6 address with a port, as `bind`, `connect` and `accept` take it.
///
/// An IPv4 address has one spelling here: as IPv6 writes it, `::ffff:192.0.2.1` (RFC 4291 §2.5.5.2), it is the IPv4 address
/// itself. A listener on `[::]` accepts IPv4 peers in that spelling.
public struct SocketAddress: Sendable, Hashable, CustomStringConvertible {
    /// The host's bits; an IPv4 address has the lowest 32.
    public let high: UInt64
    public let low: UInt64
    public let isIPv6: Bool
    public var port: UInt16

    /// - Parameter host: 4 or 16 bytes in network order.
    public init(host: [UInt8], port: UInt16) {
        precondition(host.count == 4 || host.count == 16)
        let isIPv6 = host.count == 16
        self.init(
            high: isIPv6 ? host[..<8].reduce(0) { $0 << 8 | UInt64($1) } : 0, low: host.suffix(8).reduce(0) { $0 << 8 | UInt64($1) },
            isIPv6: isIPv6, port: port)
    }

    private init(high: UInt64, low: UInt64, isIPv6: Bool, port: UInt16) {
        let carriesIPv4 = isIPv6 && high == 0 && low >> 32 == 0xFFFF
        (self.high, self.isIPv6, self.port) = (high, isIPv6 && !carriesIPv4, port)
        self.low = carriesIPv4 ? low & 0xFFFF_FFFF : low
    }

    /// 4 or 16 bytes in network order.
    public var host: [UInt8] {
        let all = (0..<16).map { UInt8(truncatingIfNeeded: ($0 < 8 ? high : low) >> UInt64(56 - $0 % 8 * 8)) }
        return isIPv6 ? all : Array(all.suffix(4))
    }

    /// Reads `127.0.0.1:8080`, `[::1]:8080`, `localhost:8080` or `*:8080` (every IPv4 interface).
    /// Other names are not resolved: a listener stands on an address, not on a name.
    public init?(_ text: String) {
        guard let colon = text.lastIndex(of: ":"), let port = UInt16(text[text.index(after: colon)...]) else { return nil }
        var host = String(text[..<colon])
        if host == "localhost" { host = "127.0.0.1" }
        if host == "*" { host = "0.0.0.0" }
        if host.hasPrefix("["), host.hasSuffix("]") {
            self.init(host: SocketAddress.parse(String(host.dropFirst().dropLast()), family: AF_INET6, size: 16), port: port)
        } else {
            self.init(host: SocketAddress.parse(host, family: AF_INET, size: 4), port: port)
        }
    }

    /// Reads an address without a port and without a name.
    init?(numeric text: String, isIPv6: Bool, _ port: UInt16) {
        self.init(host: SocketAddress.parse(text, family: isIPv6 ? AF_INET6 : AF_INET, size: isIPv6 ? 16 : 4), port: port)
    }

    private init?(host: [UInt8]?, port: UInt16) {
        guard let host else { return nil }
        self.init(host: host, port: port)
    }

    private static func parse(_ text: String, family: Int32, size: Int) -> [UInt8]? {
        // inet_pton(3) reads a C string: what stands behind a NUL would be ignored.
        guard !text.utf8.contains(0) else { return nil }
        var bytes = [UInt8](repeating: 0, count: size)
        return inet_pton(family, text, &bytes) == 1 ? bytes : nil
    }

    /// 127.0.0.0/8 and ::1, where a reverse proxy or a load test stands.
    public var isLoopback: Bool {
        isIPv6 ? high == 0 && low == 1 : low >> 24 == 127
    }

    public var description: String { isIPv6 ? "[\(hostText)]:\(port)" : "\(hostText):\(port)" }

    /// The address without the port, in digits.
    public var hostText: String {
        var text = [CChar](repeating: 0, count: Int(INET6_ADDRSTRLEN))
        inet_ntop(family, host, &text, socklen_t(text.count))
        return String(decoding: text.prefix { $0 != 0 }.map(UInt8.init(bitPattern:)), as: UTF8.self)
    }

    var family: Int32 { isIPv6 ? AF_INET6 : AF_INET }

    func withSystemAddress<R>(_ body: (UnsafePointer<sockaddr>, socklen_t) -> R) -> R {
        var storage = sockaddr_storage()
        let size = withUnsafeMutableBytes(of: &storage) { raw in
            if !isIPv6 {
                var address = sockaddr_in()
                address.sin_family = sa_family_t(AF_INET)
                address.sin_port = port.bigEndian
                withUnsafeMutableBytes(of: &address.sin_addr) { $0.copyBytes(from: host) }
                withUnsafeBytes(of: address) { raw.copyMemory(from: $0) }
                return MemoryLayout<sockaddr_in>.size
            }
            var address = sockaddr_in6()
            address.sin6_family = sa_family_t(AF_INET6)
            address.sin6_port = port.bigEndian
            withUnsafeMutableBytes(of: &address.sin6_addr) { $0.copyBytes(from: host) }
            withUnsafeBytes(of: address) { raw.copyMemory(from: $0) }
            return MemoryLayout<sockaddr_in6>.size
        }
        return withUnsafePointer(to: &storage) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { body($0, socklen_t(size)) }
        }
    }

    /// What `fill` wrote into a system address.
    init?(filledBy fill: (UnsafeMutablePointer<sockaddr>, UnsafeMutablePointer<socklen_t>) -> Int32) {
        var storage = sockaddr_storage()
        var length = socklen_t(MemoryLayout<sockaddr_storage>.size)
        let result = withUnsafeMutablePointer(to: &storage) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { fill($0, &length) }
        }
        guard result >= 0 else { return nil }
        self.init(storage)
    }

    init?(_ storage: sockaddr_storage) {
        switch Int32(storage.ss_family) {
        case AF_INET:
            let address = withUnsafeBytes(of: storage) { $0.loadUnaligned(as: sockaddr_in.self) }
            self.init(
                high: 0, low: UInt64(UInt32(bigEndian: address.sin_addr.s_addr)), isIPv6: false, port: UInt16(bigEndian: address.sin_port))
        case AF_INET6:
            let address = withUnsafeBytes(of: storage) { $0.loadUnaligned(as: sockaddr_in6.self) }
            let (high, low) = withUnsafeBytes(of: address.sin6_addr) {
                (
                    UInt64(bigEndian: $0.loadUnaligned(as: UInt64.self)),
                    UInt64(bigEndian: $0.loadUnaligned(fromByteOffset: 8, as: UInt64.self))
                )
            }
            self.init(high: high, low: low, isIPv6: true, port: UInt16(bigEndian: address.sin6_port))
        default: return nil
        }
    }
}
