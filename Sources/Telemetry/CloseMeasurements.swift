import Metrics

/// How WebSockets ended, by the code of the close frame that said so first, the server's or the client's.
public struct CloseMeasurements: Sendable {
    /// Those of RFC 6455 §7.4.1 and of the protocol; a client may send any.
    private static let codes: [UInt16] =
        [1000, 1001, 1002, 1003, 1005, 1006, 1007, 1008, 1009, 1011, 1012] + [4001, 4002, 4003, 4008] + Array(4500...4503)

    private let known: [UInt16: Counter]
    private let other: Counter

    init(registry: PrometheusRegistry) {
        func counter(_ code: String) -> Counter {
            registry.counter(
                "stanchion_websocket_closes_total", "WebSockets that ended, by close code; 1006: without a close frame.", [("code", code)])
        }
        known = Dictionary(uniqueKeysWithValues: CloseMeasurements.codes.map { ($0, counter("\($0)")) })
        other = counter("other")
    }

    public func closed(_ code: UInt16) { (known[code] ?? other).increment() }
}
