public import Metrics

/// Everything that a server measures, by its name in Prometheus. Handles are resolved once, at the start.
public struct Measurements: Sendable {
    public let registry: PrometheusRegistry

    /// Connections that were accepted, and refused because descriptors had run out.
    public let connectionsAccepted: Counter
    public let acceptsExhausted: Counter
    public let openConnections: Meter
    public let openVisitors: Meter

    /// Requests by the class of their answer.
    public let requests: [Int: Counter]
    public let requestSeconds: Metrics.Timer

    public let joins: Counter
    public let admissions: Counter
    public let positionFrames: Counter
    public let positionsConflated: Counter
    public let announcementFrames: Counter
    public let slowConsumersClosed: Counter
    public let deadPeersClosed: Counter
    public let protocolErrors: Counter
    public let secureHandshakesFailed: Counter
    private let slowClients: [SlowClient: Counter]
    private let refusals: [Refusal: Counter]
    /// From the release's place in the log to its frame's place in the socket.
    public let admissionDelaySeconds: Metrics.Timer
    public let sweepSeconds: Metrics.Timer
    /// The longest turn of any loop since the metrics were last read: what its connections wait for each other at most.
    public let longestTurnSeconds: Meter
    /// The store's connections: open, in use, waited for, and the longest wait since the metrics were last read.
    public let storeConnections: Meter
    public let storeConnectionsBusy: Meter
    public let storeRequestsWaiting: Meter
    public let storeWaitMaxSeconds: Meter
    /// Instances that have a lease, this one among them.
    public let instances: Meter
    /// Of the queue that is furthest behind the store.
    public let replicaLagEvents: Meter
    /// Pages of logs and mean waits that were asked for, by where they were found.
    private let cacheReads: [CacheLevel: Counter]
    public let bus: BusMeasurements

    public init(registry: PrometheusRegistry = PrometheusRegistry()) {
        func counter(_ name: String) -> Counter { Counter(label: "stanchion_\(name)_total", factory: registry) }
        func meter(_ name: String) -> Meter { Meter(label: "stanchion_\(name)", factory: registry) }
        func timer(_ name: String) -> Metrics.Timer { Metrics.Timer(label: "stanchion_\(name)_seconds", factory: registry) }
        self.registry = registry
        connectionsAccepted = counter("connections_accepted")
        acceptsExhausted = counter("accepts_exhausted")
        openConnections = meter("connections_open")
        openVisitors = meter("visitors_connected")
        requests = Dictionary(
            uniqueKeysWithValues: (1...5).map { kind in
                (kind, Counter(label: "stanchion_http_requests_total", dimensions: [("class", "\(kind)xx")], factory: registry))
            })
        requestSeconds = timer("http_request")
        joins = counter("joins")
        admissions = counter("admissions_delivered")
        positionFrames = counter("position_frames")
        positionsConflated = counter("positions_conflated")
        announcementFrames = counter("announcement_frames")
        slowConsumersClosed = counter("slow_consumers_closed")
        deadPeersClosed = counter("dead_peers_closed")
        protocolErrors = counter("protocol_errors")
        secureHandshakesFailed = counter("tls_handshakes_failed")
        slowClients = Dictionary(
            uniqueKeysWithValues: SlowClient.allCases.map { kind in
                (kind, Counter(label: "stanchion_slow_clients_total", dimensions: [("kind", kind.rawValue)], factory: registry))
            })
        refusals = Dictionary(
            uniqueKeysWithValues: Refusal.allCases.map { reason in
                (reason, Counter(label: "stanchion_refused_total", dimensions: [("reason", reason.rawValue)], factory: registry))
            })
        admissionDelaySeconds = timer("admission_delay")
        sweepSeconds = timer("sweep")
        longestTurnSeconds = meter("loop_turn_max_seconds")
        storeConnections = meter("store_connections")
        storeConnectionsBusy = meter("store_connections_busy")
        storeRequestsWaiting = meter("store_requests_waiting")
        storeWaitMaxSeconds = meter("store_wait_max_seconds")
        instances = meter("instances")
        replicaLagEvents = meter("replica_lag_events_max")
        cacheReads = Dictionary(
            uniqueKeysWithValues: CacheLevel.allCases.map { level in
                (level, Counter(label: "stanchion_cache_reads_total", dimensions: [("level", level.rawValue)], factory: registry))
            })
        bus = BusMeasurements(registry: registry)
    }

    public func slow(_ kind: SlowClient) { slowClients[kind]!.increment() }
    public func read(_ count: Int, from level: CacheLevel) { cacheReads[level]!.increment(by: count) }
    public func refused(_ reason: Refusal) { refusals[reason]!.increment() }
}

/// What a client was waited for, for as long as it may take, and did not do.
public enum SlowClient: String, CaseIterable, Sendable {
    /// A PROXY header, a TLS handshake, the header section of a request, its body.
    case proxyHeader = "proxy_header"
    case secureHandshake = "tls_handshake"
    case requestHead = "request_head"
    case requestBody = "request_body"
    /// Anything at all, on a new connection.
    case silent
    /// The first frame of a visitor, a sign of life, the answer to a close frame.
    case firstFrame = "first_frame"
    case pong
    case close
    /// Reading what it is sent.
    case reading
}

/// Why something was refused that somebody else would have been granted.
public enum Refusal: String, CaseIterable, Sendable {
    case connections
    case address
    case memory
    case secureHandshakes = "tls_handshakes"
    case handshakes
    case joins
    /// A visitor was closed with 4008.
    case messages
}

/// Where something was found that is looked for in a cache first.
public enum CacheLevel: String, CaseIterable, Sendable { case memory, shared, store }
