import EventLoop
import HTTPTypes
import Logging
import QueueService
import Telemetry

/// Which function answers which method and path.
struct Router: Sendable {
    typealias Handler = @Sendable (Request, Parameters) async throws -> Response

    /// What stood in the path's places.
    struct Parameters: Sendable {
        fileprivate let segments: [String]
        fileprivate let named: [(index: Int, name: String)]

        /// The key's queue that the path names, by id or slug.
        func queue(of key: APIKey, in core: ServerCore) async throws(Problem) -> QueueID {
            try await core.resolve(text("id"), tenant: key.tenant)
        }
        /// The key's queue that the path names, for a command to it.
        func queueForCommand(of key: APIKey, in core: ServerCore) async throws(Problem) -> QueueID {
            do throws(ServiceError) { return try await core.service.resolveForCommand(text("id"), tenant: key.tenant) } catch {
                throw Problem(error)
            }
        }
        func session() throws -> SessionID { try identifier("id", Problem(.notFound, "no_such_session", "there is no such session")) }
        func key() throws -> KeyID { try identifier("id", .notFound) }
        func text(_ name: String) -> String { named.first { $0.name == name }.map { segments[$0.index] } ?? "" }

        private func identifier<S>(_ name: String, _ problem: Problem) throws -> Identifier<S> {
            guard let id = Identifier<S>(text(name)) else { throw problem }
            return id
        }
    }

    private struct Route: Sendable {
        let method: HTTPRequest.Method
        let handler: Handler
        let measured: HTTPMeasurements.Route
        private let count: Int
        /// What must stand where, and what is named by its place.
        private let fixed: [(index: Int, text: String)]
        fileprivate let named: [(index: Int, name: String)]

        /// - Parameter path: `/v1/queues/{id}`.
        init(_ method: HTTPRequest.Method, _ path: String, _ measured: HTTPMeasurements.Route, _ handler: @escaping Handler) {
            self.method = method
            self.handler = handler
            self.measured = measured
            let parts = Array(path.drop { $0 == "/" }.split(separator: "/", omittingEmptySubsequences: false).enumerated())
            count = parts.count
            fixed = parts.filter { !$0.element.hasPrefix("{") }.map { ($0.offset, String($0.element)) }
            named = parts.filter { $0.element.hasPrefix("{") }.map { ($0.offset, String($0.element.dropFirst().dropLast())) }
        }

        /// Names are taken as they are written in the route and in no other spelling: a proxy in front that keeps a path from
        /// strangers does not know the others.
        func matches(_ request: Request) -> Bool {
            request.segments.count == count && named.allSatisfy { !request.segments[$0.index].isEmpty }
                && fixed.allSatisfy { request.segments[$0.index] == $0.text && !request.encoded.contains($0.index) }
        }
    }

    private var routes: [Route] = []
    private let browsers: BrowserPolicy
    private let measurements: HTTPMeasurements
    /// Those that no route is for.
    private let unmatched: HTTPMeasurements.Route
    private let slow: SlowOperations?
    private let log: Logger
    private let originWarning = Occasionally(everySeconds: 60)

    init(browsers: BrowserPolicy, measurements: HTTPMeasurements, slow: SlowOperations?, log: Logger) {
        self.browsers = browsers
        self.measurements = measurements
        unmatched = measurements.route("none", method: "any")
        self.slow = slow
        self.log = log
    }

    /// - Parameter name: what it is called in the metrics; nil: as it is written.
    mutating func on(_ method: HTTPRequest.Method, _ path: String, as name: String? = nil, _ handler: @escaping Handler) {
        routes.append(Route(method, path, measurements.route(name ?? "/\(path)", method: method.rawValue), handler))
    }

    /// The answer, whatever happens.
    ///
    /// - Parameters:
    ///   - began: when the request was whole, on the monotonic clock: the loop may have had others to serve since.
    ///   - operation: what it is traced as, which ends with the answer.
    func respond(to request: Request, since began: UInt64, as operation: Operation?) async -> Response {
        var measured = unmatched
        var response: Response
        do {
            response = try await answer(request, &measured)
        } catch {
            let problem = self.problem(error, with: request)
            measurements.problem(problem.code)
            warn(of: problem, origin: request.fields[.origin], host: request.host)
            response = problem.response
        }
        browsers.addCrossOrigin(request.fields[.origin], request.method, to: &response)
        let nanoseconds = EventLoop.monotonicNow() - began
        measured.record(nanoseconds, status: response.status.code)
        // A key that is not known waits until all keys are read again: strangers must not fill the log with that.
        if response.status == .unauthorized {
            operation?.discard()
        } else if let operation {
            operation.operationName = measured.name
            operation.end()
        } else {
            slow?.took(nanoseconds, measured.name)
        }
        return response
    }

    /// The answer to somebody who was refused before there was anything to route.
    ///
    /// - Parameters:
    ///   - origin: the page's, as far as that is known.
    ///   - host: what the browser, or a proxy, calls this server.
    func refusal(_ problem: Problem, origin: String?, host: String? = nil) -> Response {
        measurements.problem(problem.code)
        warn(of: problem, origin: origin, host: host)
        unmatched.record(0, status: problem.status.code)
        var response = problem.response
        browsers.addCrossOrigin(origin, .get, to: &response)
        return response
    }

    /// A browser tells its page nothing of a handshake that was refused: who runs the server learns it here, with both names.
    private func warn(of problem: Problem, origin: String?, host: String?) {
        guard problem.code == "origin_not_allowed", originWarning.isDue() else { return }
        log.warning(
            "a page was refused whose origin is neither the server's nor listed",
            metadata: ["code": "\(problem.code)", "origin": "\((origin ?? "").prefix(200))", "host": "\((host ?? "").prefix(200))"])
    }

    private func problem(_ error: any Error, with request: Request) -> Problem {
        if let known = Problem(known: error) { return known }
        log.error("a request failed", metadata: ["path": "/\(request.segments.joined(separator: "/"))", "error": "\(error)"])
        return Problem(.internalServerError, "internal_error", "something went wrong here")
    }

    private func answer(_ request: Request, _ measured: inout HTTPMeasurements.Route) async throws -> Response {
        let method: HTTPRequest.Method = request.method == .head ? .get : request.method
        if let index = routes.firstIndex(where: { $0.method == method && $0.matches(request) }) {
            measured = routes[index].measured
            // A write without Authorization may need no preflight (Fetch standard §3.2.2): a browser sends it for any page.
            if method != .get, request.bearer == nil { try browsers.check(request) }
            return try await routes[index].handler(request, Parameters(segments: request.segments, named: routes[index].named))
        }
        var allowed = routes.filter { $0.matches(request) }.map(\.method.rawValue)
        guard !allowed.isEmpty else { throw Problem.notFound }
        if allowed.contains("GET") { allowed.append("HEAD") }
        let allow = (allowed + ["OPTIONS"]).joined(separator: ", ")
        if request.method == .options {
            var response = Response(.noContent)
            response.fields[.allow] = allow
            return response
        }
        var problem = Problem(.methodNotAllowed, "method_not_allowed", "allowed here are \(allow)")
        problem.fields[.allow] = allow
        throw problem
    }
}
