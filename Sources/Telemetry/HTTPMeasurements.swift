import Metrics

/// What is measured of requests: how many, how long they took and how they ended, by route and method.
public struct HTTPMeasurements: Sendable {
    /// One route's. Handles are resolved once, when the route is made.
    public struct Route: Sendable {
        /// `POST /v1/queues/{id}/join`.
        public let name: String
        private let seconds: Metrics.Timer
        private let answers: [Counter]

        fileprivate init(_ route: String, _ method: String, _ registry: PrometheusRegistry) {
            name = "\(method) \(route)"
            let labels = [("route", route), ("method", method)]
            seconds = registry.timer(
                "stanchion_http_request_duration_seconds", "From a request's last byte to its answer.", .latencies, labels)
            answers = (1...5).map { kind in
                registry.counter(
                    "stanchion_http_requests_total", "Requests by the class of their answer.", labels + [("class", "\(kind)xx")])
            }
        }

        /// - Parameter status: 100 to 599.
        public func record(_ nanoseconds: UInt64, status: Int) {
            seconds.recordNanoseconds(Int64(nanoseconds))
            answers[min(max(status / 100, 1), 5) - 1].increment()
        }
    }

    private let registry: PrometheusRegistry

    init(registry: PrometheusRegistry) { self.registry = registry }

    /// - Parameter route: as it is written in the program, `/v1/queues/{id}`: what clients put in its place has no end.
    public func route(_ route: String, method: String) -> Route { Route(route, method, registry) }

    /// A request was refused, or failed, with this code: one of the program's, never something that a client sent.
    public func problem(_ code: String) {
        registry.counter("stanchion_http_problems_total", "Answers that are problem details (RFC 9457), by their code.", [("code", code)])
            .increment()
    }
}
