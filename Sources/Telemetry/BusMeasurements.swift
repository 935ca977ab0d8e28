public import Metrics

/// What is measured of the bus between instances.
public struct BusMeasurements: Sendable {
    /// 1 while it carries messages, which its own heartbeat proves.
    public let isLive: Meter
    public let linksLost: Counter
    public let published: Counter
    public let received: Counter
    /// Messages that were not taken, by why: `version`, `size`, `forged`, `malformed`.
    public let refused: [String: Counter]

    init(registry: PrometheusRegistry) {
        func counter(_ name: String) -> Counter { Counter(label: "stanchion_bus_\(name)_total", factory: registry) }
        isLive = Meter(label: "stanchion_bus_live", factory: registry)
        linksLost = counter("links_lost")
        published = counter("messages_published")
        received = counter("messages_received")
        refused = Dictionary(
            uniqueKeysWithValues: ["version", "size", "forged", "malformed"].map { reason in
                (reason, Counter(label: "stanchion_bus_messages_refused_total", dimensions: [("reason", reason)], factory: registry))
            })
    }
}
