import Dispatch
import Glibc

/// Names of hosts. Looking one up blocks (`getaddrinfo`), so that is done on another thread than any loop's.
public enum HostLookup {
    /// Finds the addresses of a name; a number is its own. Calls back on any thread, with nothing where there is none.
    public static func addresses(of host: String, port: UInt16, _ found: @escaping @Sendable ([SocketAddress]) -> Void) {
        if let number = number(host, port) { return found([number]) }
        DispatchQueue.global().async { found(blockingLookUp(host, port: port)) }
    }

    /// Whether it is an address already.
    public static func isNumber(_ host: String) -> Bool { number(host, 0) != nil }

    private static func number(_ host: String, _ port: UInt16) -> SocketAddress? {
        SocketAddress(numeric: host, isIPv6: false, port) ?? SocketAddress(numeric: host, isIPv6: true, port)
    }

    /// The addresses of a name, each once. Not for a loop's thread.
    public static func blockingLookUp(_ name: String, port: UInt16) -> [SocketAddress] {
        var hints = addrinfo()
        hints.ai_socktype = Int32(SOCK_STREAM.rawValue)
        var list: UnsafeMutablePointer<addrinfo>?
        guard getaddrinfo(name, nil, &hints, &list) == 0 else { return [] }
        defer { freeaddrinfo(list) }
        var addresses: [SocketAddress] = []
        var entry = list
        while let this = entry {
            var storage = sockaddr_storage()
            memcpy(&storage, this.pointee.ai_addr, min(Int(this.pointee.ai_addrlen), MemoryLayout<sockaddr_storage>.size))
            if var address = SocketAddress(storage) {
                address.port = port
                if !addresses.contains(address) { addresses.append(address) }
            }
            entry = this.pointee.ai_next
        }
        return addresses
    }
}
