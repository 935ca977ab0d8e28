import EventLoop

/// Whom a limit by address counts as one: an IPv4 address, or an IPv6 network of 64 bits, which is what one customer
/// gets (RFC 6177). In eight bytes, because every connection keeps its own.
struct AddressGroup: Hashable {
    let rawValue: UInt64

    /// Counted as nobody.
    static let none = AddressGroup(rawValue: 0)

    init(rawValue: UInt64) { self.rawValue = rawValue }

    init(_ address: SocketAddress) {
        // No customer has a network in ::/64, so IPv4 addresses have room there.
        rawValue = address.isIPv6 && address.high != 0 ? address.high : address.low & 0xFFFF_FFFF
    }
}

/// A network in CIDR notation (RFC 4632, RFC 4291 §2.3): `10.0.0.0/8`, `2001:db8::/32`, or one address.
public struct Network: Sendable, Hashable {
    private let high: UInt64
    private let low: UInt64
    private let isIPv6: Bool
    private let bits: Int

    public init?(_ text: String) {
        let parts = text.split(separator: "/", maxSplits: 1, omittingEmptySubsequences: false).map(String.init)
        guard let address = SocketAddress(parts[0].contains(":") ? "[\(parts[0])]:0" : parts[0] + ":0") else { return nil }
        let most = address.isIPv6 ? 128 : 32
        // The length counts the bits of the spelling: `::ffff:10.0.0.0/104` is `10.0.0.0/8`.
        let prefix = parts[0].contains(":") && !address.isIPv6 ? 96 : 0
        guard let bits = parts.count == 1 ? most : Int(parts[1]).map({ $0 - prefix }), (0...most).contains(bits) else { return nil }
        (high, low) = Network.masked(address, bits)
        isIPv6 = address.isIPv6
        self.bits = bits
    }

    func contains(_ address: SocketAddress) -> Bool {
        address.isIPv6 == isIPv6 && Network.masked(address, bits) == (high, low)
    }

    private static func masked(_ address: SocketAddress, _ bits: Int) -> (UInt64, UInt64) {
        func mask(_ value: UInt64, _ bits: Int) -> UInt64 { bits <= 0 ? 0 : bits >= 64 ? value : value & ~(UInt64.max >> UInt64(bits)) }
        guard address.isIPv6 else { return (0, mask(address.low, bits + 32)) }
        return (mask(address.high, bits), mask(address.low, bits - 64))
    }
}
