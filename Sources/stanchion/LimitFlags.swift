import ArgumentParser
import HTTPTypes
import Server

/// The flags of `serve` that say what visitors may do at most, and whose word on an address counts.
struct LimitFlags: ParsableArguments {
    @Option(help: "Connections in all. Default 100000, and never more than descriptors allow. [STANCHION_MAX_CONNECTIONS]")
    var maxConnections: String?

    @Option(help: "Connections of an address; an IPv6 network of 64 bits is one. Default 2000. [STANCHION_CONNECTIONS_PER_ADDRESS]")
    var connectionsPerAddress: String?

    @Option(help: "WebSocket handshakes in all, RATE:BURST a second. Default 20000:40000. [STANCHION_HANDSHAKES]")
    var handshakes: String?

    @Option(help: "WebSocket handshakes of an address, RATE:BURST a second. Default 50:500. [STANCHION_HANDSHAKES_PER_ADDRESS]")
    var handshakesPerAddress: String?

    @Option(help: "TLS handshakes in progress on an event loop; one more ends the oldest. Default 2000. [STANCHION_TLS_HANDSHAKES]")
    var tlsHandshakes: String?

    @Option(help: "TLS handshakes of an address, RATE:BURST a second. Default 100:1000. [STANCHION_TLS_HANDSHAKES_PER_ADDRESS]")
    var tlsHandshakesPerAddress: String?

    @Option(
        help: """
            Connections that an address opens and requests that it sends without a key, together, RATE:BURST a second. Default 1000:5000. \
            [STANCHION_REQUESTS_PER_ADDRESS]
            """)
    var requestsPerAddress: String?

    @Option(help: "Joins of an address, RATE:BURST a second. Default 20:500. [STANCHION_JOINS_PER_ADDRESS]")
    var joinsPerAddress: String?

    @Option(help: "Joins into a queue, RATE:BURST a second. Default 20000:40000. [STANCHION_JOINS_PER_QUEUE]")
    var joinsPerQueue: String?

    @Option(
        help:
            "Visitors of an instance that is drained who may come to this one in a second, while it has little to do. Default 2000. [STANCHION_ARRIVALS_PER_SECOND]"
    )
    var arrivalsPerSecond: String?

    @Option(help: "A visitor's messages, RATE:BURST a second. Default 20:40. [STANCHION_MESSAGE_RATE]")
    var messageRate: String?

    @Option(help: "A visitor's bytes, RATE:BURST a second. Default 16384:65536. [STANCHION_BYTE_RATE]")
    var byteRate: String?

    @Option(help: "A visitor's pings and pongs, RATE:BURST a second. Default 5:20. [STANCHION_PING_RATE]")
    var pingRate: String?

    @Option(help: "A visitor's messages that are answered with an error, RATE:BURST a second. Default 0.2:5. [STANCHION_ERROR_RATE]")
    var errorRate: String?

    @Option(help: "Whether loopback peers count for limits by address: true or false. Default false. [STANCHION_LIMIT_LOOPBACK]")
    var limitLoopback: String?

    @Option(
        help:
            "Networks of reverse proxies, with commas between them, whose word on an address is taken: 10.0.0.0/8. [STANCHION_TRUSTED_PROXIES]"
    )
    var trustedProxies: String?

    @Option(
        help:
            "The header in which those name the client's address: X-Forwarded-For, Forwarded, or one of their own. No other is believed. Default X-Forwarded-For. [STANCHION_CLIENT_ADDRESS_HEADER]"
    )
    var clientAddressHeader: String?

    @Option(help: "Whether those begin each connection with a PROXY header, version 1 or 2: true or false. [STANCHION_PROXY_PROTOCOL]")
    var proxyProtocol: String?

    func read(_ sources: SettingSources, into limits: inout LimitSettings) throws {
        try sources.integer("max-connections", flag: maxConnections, in: 1...10_000_000, &limits.connections)
        try sources.integer("connections-per-address", flag: connectionsPerAddress, in: 1...10_000_000, &limits.connectionsPerAddress)
        try sources.integer("tls-handshakes", flag: tlsHandshakes, in: 1...1_000_000, &limits.secureHandshakes)
        try sources.integer("arrivals-per-second", flag: arrivalsPerSecond, in: 20...1_000_000, &limits.arrivalsPerSecond)
        try sources.rate("handshakes", flag: handshakes, &limits.handshakes)
        try sources.rate("handshakes-per-address", flag: handshakesPerAddress, &limits.handshakesPerAddress)
        try sources.rate("tls-handshakes-per-address", flag: tlsHandshakesPerAddress, &limits.secureHandshakesPerAddress)
        try sources.rate("requests-per-address", flag: requestsPerAddress, &limits.requestsPerAddress)
        try sources.rate("joins-per-address", flag: joinsPerAddress, &limits.joinsPerAddress)
        try sources.rate("joins-per-queue", flag: joinsPerQueue, &limits.joinsPerQueue)
        try sources.rate("message-rate", flag: messageRate, &limits.messages)
        try sources.rate("byte-rate", flag: byteRate, &limits.bytes)
        try sources.rate("ping-rate", flag: pingRate, &limits.controls)
        try sources.rate("error-rate", flag: errorRate, &limits.errors)
        limits.countsLoopback = try sources.boolean("limit-loopback", flag: limitLoopback) ?? limits.countsLoopback
        limits.expectsProxyHeader = try sources.boolean("proxy-protocol", flag: proxyProtocol) ?? limits.expectsProxyHeader
        for text in (sources.text("trusted-proxies", flag: trustedProxies) ?? "").split(separator: ",") {
            guard let network = Network(String(text)) else {
                throw Failure.setting("trusted-proxies names \(text), and must name networks like 10.0.0.0/8 or 2001:db8::/32")
            }
            limits.trustedProxies.append(network)
        }
        if let text = sources.text("client-address-header", flag: clientAddressHeader) {
            guard let name = HTTPField.Name(text) else {
                throw Failure.setting("client-address-header is \(text), and must be the name of a header, like X-Forwarded-For")
            }
            limits.clientAddressField = name
        }
        guard !limits.expectsProxyHeader || !limits.trustedProxies.isEmpty else {
            throw Failure.setting("proxy-protocol is true and trusted-proxies names nobody: name the networks that send PROXY headers")
        }
    }
}

extension SettingSources {
    func boolean(_ name: String, flag: String?) throws -> Bool? {
        guard let text = text(name, flag: flag) else { return nil }
        guard let value = Bool(text) else { throw Failure.setting("\(name) is \(text), and must be true or false") }
        return value
    }

    /// `RATE:BURST`: so many a second in the long run, and so many at once.
    func rate(_ name: String, flag: String?, _ rate: inout Rate) throws {
        guard let text = text(name, flag: flag) else { return }
        let parts = text.split(separator: ":", omittingEmptySubsequences: false).map { Double($0) }
        guard parts.count == 2, let perSecond = parts[0], let burst = parts[1], (0.001...1e9).contains(perSecond), (1...1e9).contains(burst)
        else { throw Failure.setting("\(name) is \(text), and must be two numbers like 20:500: so many a second, so many at once") }
        rate = Rate(perSecond: perSecond, burst: burst)
    }
}
