public import Metrics

/// What is measured of the bus between instances.
public struct BusMeasurements: Sendable {
    /// 1 while it carries messages, which its own heartbeat proves.
    public let isLive: Meter
    public let linksLost: Counter
    public let published: Counter
    public let received: Counter
    private let refusals: [BusRefusal: Counter]

    init(registry: PrometheusRegistry) {
        isLive = registry.gauge("stanchion_bus_live", "1 while the bus carries messages, which its own heartbeat proves.")
        linksLost = registry.counter("stanchion_bus_links_lost_total", "Connections to the bus that were lost.")
        published = registry.counter("stanchion_bus_messages_published_total", "Messages that were given to the bus.")
        received = registry.counter("stanchion_bus_messages_received_total", "Messages of others that came over the bus.")
        refusals = registry.counters("stanchion_bus_messages_refused_total", "Messages of the bus that were not taken.", "reason")
    }

    public func refused(_ reason: BusRefusal) { refusals[reason]!.increment() }
}

/// Why a message of the bus was not taken.
public enum BusRefusal: String, Error, CaseIterable, Sendable {
    /// Of a neighbouring version of the program; what it tells is read from the store.
    case version
    case size
    /// Not by an instance of this store.
    case forged
    case malformed
}
