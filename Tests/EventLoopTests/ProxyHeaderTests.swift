import EventLoop
import Testing

@Suite struct ProxyHeaderTests {
    static func parse(_ bytes: [UInt8]) -> ProxyHeader { bytes.withUnsafeBytes { ProxyHeader.parse($0) } }

    static let signature: [UInt8] = [0x0D, 0x0A, 0x0D, 0x0A, 0x00, 0x0D, 0x0A, 0x51, 0x55, 0x49, 0x54, 0x0A]
    static let six: [UInt8] = [0x20, 0x01, 0x0D, 0xB8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]

    static let mapped = [UInt8](repeating: 0, count: 10) + [0xFF, 0xFF, 192, 0, 2, 1]

    static let good: [(String, [UInt8], SocketAddress?)] = [
        ("version 1", Array("PROXY TCP4 192.0.2.1 192.0.2.2 56324 443\r\n".utf8), SocketAddress("192.0.2.1:56324")),
        ("version 1, IPv6", Array("PROXY TCP6 2001:db8::1 ::1 1 65535\r\n".utf8), SocketAddress("[2001:db8::1]:1")),
        ("version 1, unknown", Array("PROXY UNKNOWN whatever\r\n".utf8), nil),
        ("version 2", signature + [0x21, 0x11, 0, 12, 192, 0, 2, 1, 192, 0, 2, 2, 0xDC, 0x04, 1, 187], SocketAddress("192.0.2.1:56324")),
        (
            "version 2, IPv6 and more", signature + [0x21, 0x21, 0, 40] + six + six + [0, 1, 0, 2, 4, 0, 1, 9],
            SocketAddress("[2001:db8::1]:1")
        ),
        (
            "version 2, a client's certificate",
            signature + [0x21, 0x11, 0x10, 12, 192, 0, 2, 1, 192, 0, 2, 2, 0xDC, 0x04, 1, 187] + [UInt8](repeating: 0x20, count: 4_096),
            SocketAddress("192.0.2.1:56324")
        ),
        (
            "version 2, IPv4 as IPv6 writes it", signature + [0x21, 0x21, 0, 36] + mapped + mapped + [0xDC, 4, 1, 187],
            SocketAddress("192.0.2.1:56324")
        ),
        ("version 2, local", signature + [0x20, 0, 0, 0], nil),
        ("version 2, a socket of the file system", signature + [0x21, 0x31, 0, 216] + [UInt8](repeating: 65, count: 216), nil),
    ]

    @Test func aHeaderIsReadWholeAndNotBefore() {
        for (name, bytes, source) in ProxyHeaderTests.good {
            #expect(ProxyHeaderTests.parse(bytes) == .header(source: source, length: bytes.count), "\(name)")
            #expect(
                ProxyHeaderTests.parse(bytes + [0x16, 3, 1]) == .header(source: source, length: bytes.count), "\(name), with more behind it"
            )
            for count in 0..<bytes.count {
                #expect(ProxyHeaderTests.parse(Array(bytes[..<count])) == .incomplete, "\(name), \(count) bytes")
            }
        }
    }

    @Test func whatIsNoneIsSaid() {
        let wrong: [[UInt8]] = [
            Array("GET / HTTP/1.1\r\n".utf8), Array("PROXY TCP4 192.0.2.1 192.0.2.2 056 443\r\n".utf8),
            Array("PROXY TCP4 192.0.2.1 192.0.2.2 65536 443\r\n".utf8), Array("PROXY TCP4 ::1 ::1 1 1\r\n".utf8),
            Array("PROXY TCP6 192.0.2.1 192.0.2.2 1 1\r\n".utf8), Array("PROXY TCP4  192.0.2.1 192.0.2.2 1 1\r\n".utf8),
            Array("PROXY TCP4 192.0.2.1 192.0.2.2 1 1\n".utf8), Array("PROXY UDP4 192.0.2.1 192.0.2.2 1 1\r\n".utf8),
            Array("PROXY TCP4 192.0.2.1\0 192.0.2.2 1 1\r\n".utf8), Array("PROXY TCP4 192.0.2.1 192.0.2.2\u{1B} 1 1\r\n".utf8),
            Array("PROXY ".utf8) + [UInt8](repeating: 65, count: 120), ProxyHeaderTests.signature + [0x11, 0x11, 0, 12],
            ProxyHeaderTests.signature + [0x22, 0x11, 0, 12], ProxyHeaderTests.signature + [0x21, 0x11, 0xFF, 0xFF],
            ProxyHeaderTests.signature + [0x21, 0x11, 0, 4, 1, 2, 3, 4],
            ProxyHeaderTests.signature + [0x21, 0x21, 0, 12] + [UInt8](repeating: 0, count: 12),
        ]
        for bytes in wrong { #expect(ProxyHeaderTests.parse(bytes) == .invalid, "\(bytes)") }
    }
}
