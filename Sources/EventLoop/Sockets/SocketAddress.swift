import Glibc

/// An IPv4 or IPv6 address with a port, as `bind`, `connect` and `accept` take it.
public struct SocketAddress: Sendable, Hashable, CustomStringConvertible {
    /// 4 or 16 bytes in network order.
    public let host: [UInt8]
    public var port: UInt16

    public init(host: [UInt8], port: UInt16) {
        precondition(host.count == 4 || host.count == 16)
        self.host = host
        self.port = port
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

    private init?(host: [UInt8]?, port: UInt16) {
        guard let host else { return nil }
        self.init(host: host, port: port)
    }

    private static func parse(_ text: String, family: Int32, size: Int) -> [UInt8]? {
        var bytes = [UInt8](repeating: 0, count: size)
        return inet_pton(family, text, &bytes) == 1 ? bytes : nil
    }

    /// 127.0.0.0/8 and ::1, where a reverse proxy or a load test stands.
    public var isLoopback: Bool {
        host.count == 4 ? host[0] == 127 : host == [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]
    }

    public var description: String {
        var text = [CChar](repeating: 0, count: Int(INET6_ADDRSTRLEN))
        inet_ntop(family, host, &text, socklen_t(text.count))
        let name = String(decoding: text.prefix { $0 != 0 }.map(UInt8.init(bitPattern:)), as: UTF8.self)
        return host.count == 4 ? "\(name):\(port)" : "[\(name)]:\(port)"
    }

    var family: Int32 { host.count == 4 ? AF_INET : AF_INET6 }

    func withSystemAddress<R>(_ body: (UnsafePointer<sockaddr>, socklen_t) -> R) -> R {
        var storage = sockaddr_storage()
        let size = withUnsafeMutableBytes(of: &storage) { raw in
            if host.count == 4 {
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
            self.init(host: withUnsafeBytes(of: address.sin_addr) { Array($0) }, port: UInt16(bigEndian: address.sin_port))
        case AF_INET6:
            let address = withUnsafeBytes(of: storage) { $0.loadUnaligned(as: sockaddr_in6.self) }
            self.init(host: withUnsafeBytes(of: address.sin6_addr) { Array($0) }, port: UInt16(bigEndian: address.sin6_port))
        default: return nil
        }
    }
}
