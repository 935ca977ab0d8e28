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
        func counter(_ name: String) -> Counter { Counter(label: "stanchion_bus_\(name)_total", factory: registry) }
        isLive = Meter(label: "stanchion_bus_live", factory: registry)
        linksLost = counter("links_lost")
        published = counter("messages_published")
        received = counter("messages_received")
        refusals = Dictionary(
            uniqueKeysWithValues: BusRefusal.allCases.map { reason in
                (
                    reason,
                    Counter(label: "stanchion_bus_messages_refused_total", dimensions: [("reason", reason.rawValue)], factory: registry)
                )
            })
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
