public import Metrics

/// Everything that a server measures, by its name in Prometheus. Handles are resolved once, at the start.
public struct Measurements: Sendable {
    public let registry: PrometheusRegistry

    /// Connections that were accepted, and refused because descriptors had run out.
    public let connectionsAccepted: Counter
    public let acceptsExhausted: Counter
    public let openConnections: Meter
    public let openVisitors: Meter

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
    /// From an admission's place in the log to its frame's place in the socket, or to the poll that tells of it.
    public let admissionDelaySeconds: Metrics.Timer
    public let sweepSeconds: Metrics.Timer
    /// The longest turn of any loop in the last half minute: what its connections wait for each other at most.
    public let longestTurnSeconds: Meter
    /// The store's connections: open, in use, waited for, and the longest wait in the last half minute.
    public let storeConnections: Meter
    public let storeConnectionsBusy: Meter
    public let storeRequestsWaiting: Meter
    public let storeWaitMaxSeconds: Meter
    /// Instances that have a lease, this one among them.
    public let instances: Meter
    /// Of the queue that is furthest behind the store.
    public let replicaLagEvents: Meter
    /// From joining to the admission's place in the log, of those who were told.
    public let visitorWaitSeconds: Metrics.Timer
    public let secureHandshakes: Counter
    public let queues: QueueMeasurements
    public let closes: CloseMeasurements
    public let http: HTTPMeasurements
    public let store: StoreMeasurements
    public let bus: BusMeasurements

    public init(registry: PrometheusRegistry = PrometheusRegistry()) {
        func counter(_ name: String, _ help: String) -> Counter { registry.counter("stanchion_\(name)_total", help) }
        func gauge(_ name: String, _ help: String) -> Meter { registry.gauge("stanchion_\(name)", help) }
        func timer(_ name: String, _ help: String) -> Metrics.Timer { registry.timer("stanchion_\(name)_seconds", help) }
        self.registry = registry
        connectionsAccepted = counter("connections_accepted", "Connections that were accepted.")
        acceptsExhausted = counter("accepts_exhausted", "Attempts to accept a connection that failed for want of descriptors or memory.")
        openConnections = gauge("connections_open", "Connections that are open, of every kind.")
        openVisitors = gauge("visitors_connected", "Visitors who hold a place over a WebSocket.")
        joins = counter("joins", "Places in line that were given out.")
        admissions = counter("admissions_delivered", "Admissions that were sent to a visitor's WebSocket.")
        positionFrames = counter("position_frames", "Frames with a position that were sent.")
        positionsConflated = counter("positions_conflated", "Positions that were not sent, for a newer one took their place.")
        announcementFrames = counter("announcement_frames", "Frames with an announcement that were sent.")
        slowConsumersClosed = counter("slow_consumers_closed", "Connections that were closed for not reading what they were sent.")
        deadPeersClosed = counter("dead_peers_closed", "WebSockets that were closed for giving no sign of life.")
        protocolErrors = counter("protocol_errors", "WebSockets that broke the protocol.")
        secureHandshakesFailed = counter("tls_handshakes_failed", "TLS handshakes that failed.")
        slowClients = registry.counters(
            "stanchion_slow_clients_total", "Clients that did not do in time what they were waited for.", "kind")
        refusals = registry.counters("stanchion_refused_total", "What was refused because a limit was reached.", "reason")
        admissionDelaySeconds = timer(
            "admission_delay", "From an admission's place in the log to its frame's place in the socket, or to the next poll.")
        sweepSeconds = timer("sweep", "Time that a loop took to tell those of a queue their positions.")
        longestTurnSeconds = gauge("loop_turn_max_seconds", "The longest turn of any loop in the last half minute.")
        storeConnections = gauge("store_connections", "Connections to the store that are open.")
        storeConnectionsBusy = gauge("store_connections_busy", "Connections to the store that are in use.")
        storeRequestsWaiting = gauge("store_requests_waiting", "Requests that wait for a connection to the store.")
        storeWaitMaxSeconds = gauge("store_wait_max_seconds", "The longest wait for a connection to the store in the last half minute.")
        instances = gauge("instances", "Instances that have a lease, this one among them.")
        replicaLagEvents = gauge("replica_lag_events_max", "Events by which the queue that is furthest behind the store is behind.")
        visitorWaitSeconds = registry.timer(
            "stanchion_visitor_wait_seconds", "From joining to being admitted, of those who were told.", .waits)
        secureHandshakes = counter("tls_handshakes", "TLS handshakes that were done.")
        queues = QueueMeasurements(registry: registry)
        closes = CloseMeasurements(registry: registry)
        http = HTTPMeasurements(registry: registry)
        store = StoreMeasurements(registry: registry)
        bus = BusMeasurements(registry: registry)
    }

    public func slow(_ kind: SlowClient) { slowClients[kind]!.increment() }
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
    case requests
    case joins
    /// A visitor was closed with 4008.
    case messages
}
