import EventLoop
public import HTTPTypes

/// What visitors may do at most. Every number is for an address with ordinary people behind it, many of them where
/// they share one.
public struct LimitSettings: Sendable {
    /// Connections in all.
    public var connections = 100_000
    /// Connections of an address; an IPv6 network of 64 bits counts as one.
    public var connectionsPerAddress = 2_000
    /// WebSocket handshakes in all, and of an address.
    public var handshakes = Rate(perSecond: 20_000, burst: 40_000)
    public var handshakesPerAddress = Rate(perSecond: 50, burst: 500)
    /// Connections that an address opens and requests that it sends without a key, together.
    public var requestsPerAddress = Rate(perSecond: 1_000, burst: 5_000)
    /// Joins of an address, and into a queue.
    public var joinsPerAddress = Rate(perSecond: 20, burst: 500)
    public var joinsPerQueue = Rate(perSecond: 20_000, burst: 40_000)
    /// Visitors of an instance that goes who may come to this one in a second, while it has little to do.
    public var arrivalsPerSecond = 2_000
    /// Whether loopback peers count.
    public var countsLoopback = false
    /// How long an address is refused after one of its connections was closed with 4008, in seconds.
    public var refusalSeconds: Int32 = 5

    /// A visitor's messages, bytes with their frames, pings and pongs, and messages that were answered with an error.
    public var messages = Rate(perSecond: 20, burst: 40)
    public var bytes = Rate(perSecond: 16_384, burst: 65_536)
    public var controls = Rate(perSecond: 5, burst: 20)
    public var errors = Rate(perSecond: 0.2, burst: 5)

    /// TLS handshakes of an address.
    public var secureHandshakesPerAddress = Rate(perSecond: 100, burst: 1_000)
    /// TLS handshakes in progress on a loop, and how long one may take, in seconds. One more ends the oldest.
    public var secureHandshakes = 2_000
    public var secureHandshakeSeconds: UInt32 = 10

    /// Networks whose word on an address is taken.
    public var trustedProxies: [Network] = []
    /// The one field in which those name the client's address, for each request.
    public var clientAddressField: HTTPField.Name = .xForwardedFor
    /// Whether those begin each connection with a PROXY header.
    public var expectsProxyHeader = false

    func isTrusted(_ peer: SocketAddress) -> Bool { trustedProxies.contains { $0.contains(peer) } }

    public init() {}
}
