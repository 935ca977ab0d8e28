import HTTPTypes
import Logging
import QueueService

/// Which function answers which method and path.
struct Router: Sendable {
    typealias Handler = @Sendable (Request, Parameters) async throws -> Response

    /// What stood in the path's places.
    struct Parameters: Sendable {
        fileprivate var values: [String: String] = [:]

        /// The queue that the path names; an id that is none names nothing.
        func queue() throws -> QueueID { try identifier("id", .noSuchQueue) }
        func session() throws -> SessionID { try identifier("id", Problem(.notFound, "no_such_session", "there is no such session")) }
        func key() throws -> KeyID { try identifier("id", .notFound) }
        func text(_ name: String) -> String { values[name] ?? "" }

        private func identifier<S>(_ name: String, _ problem: Problem) throws -> Identifier<S> {
            guard let id = Identifier<S>(values[name] ?? "") else { throw problem }
            return id
        }
    }

    private struct Route: Sendable {
        let method: HTTPRequest.Method
        let handler: Handler
        private let count: Int
        /// What must stand where, and what is named by its place.
        private let fixed: [(index: Int, text: String)]
        private let named: [(index: Int, name: String)]

        /// - Parameter path: `/v1/queues/{id}`.
        init(_ method: HTTPRequest.Method, _ path: String, _ handler: @escaping Handler) {
            self.method = method
            self.handler = handler
            let parts = Array(path.split(separator: "/").enumerated())
            count = parts.count
            fixed = parts.filter { !$0.element.hasPrefix("{") }.map { ($0.offset, String($0.element)) }
            named = parts.filter { $0.element.hasPrefix("{") }.map { ($0.offset, String($0.element.dropFirst().dropLast())) }
        }

        func match(_ segments: [String]) -> Parameters? {
            guard segments.count == count, fixed.allSatisfy({ segments[$0.index] == $0.text }) else { return nil }
            var parameters = Parameters()
            for (index, name) in named { parameters.values[name] = segments[index] }
            return parameters
        }
    }

    private var routes: [Route] = []
    private let allowedOrigins: Set<String>
    /// Looks once more for a queue that is not known; true: now it is.
    private let meet: @Sendable (QueueID) async -> Bool
    private let log: Logger

    init(allowedOrigins: Set<String>, log: Logger, meet: @escaping @Sendable (QueueID) async -> Bool) {
        self.allowedOrigins = allowedOrigins
        self.meet = meet
        self.log = log
    }

    mutating func on(_ method: HTTPRequest.Method, _ path: String, _ handler: @escaping Handler) {
        routes.append(Route(method, path, handler))
    }

    /// The answer, whatever happens.
    func respond(to request: Request) async -> Response {
        var response: Response
        do {
            response = try await answer(request)
        } catch let problem as Problem {
            response = problem.response
        } catch let error as ServiceError {
            response = Problem(error).response
        } catch {
            log.error("a request failed", metadata: ["path": "/\(request.segments.joined(separator: "/"))", "error": "\(error)"])
            response = Problem(.internalServerError, "internal_error", "something went wrong here").response
        }
        addCrossOrigin(request, &response)
        return response
    }

    /// Where the queue is not known it is looked for, and asked for once more.
    private func answer(_ request: Request) async throws -> Response {
        do { return try await find(request) } catch {
            let problem = error as? Problem ?? (error as? ServiceError).map { Problem($0) }
            guard problem == .noSuchQueue, let queue = request.queue, await meet(queue) else { throw error }
            return try await find(request)
        }
    }

    private func find(_ request: Request) async throws -> Response {
        let matches = routes.compactMap { route in route.match(request.segments).map { (route, $0) } }
        guard !matches.isEmpty else { throw Problem.notFound }
        let method: HTTPRequest.Method = request.method == .head ? .get : request.method
        if let (route, parameters) = matches.first(where: { $0.0.method == method }) { return try await route.handler(request, parameters) }
        var allowed = matches.map(\.0.method.rawValue)
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

    /// CORS (Fetch standard §3.2) for listed origins; for all others nothing is said, and browsers refuse.
    private func addCrossOrigin(_ request: Request, _ response: inout Response) {
        guard request.segments.first == "v1", !allowedOrigins.isEmpty else { return }
        response.fields[.vary] = "Origin"
        guard let origin = request.fields[.origin], allowedOrigins.contains(origin) else { return }
        response.fields[.accessControlAllowOrigin] = origin
        guard request.method == .options else { return }
        response.fields[.accessControlAllowMethods] = response.fields[.allow]
        response.fields[.accessControlAllowHeaders] = "Authorization, Content-Type, Idempotency-Key, Last-Event-ID"
        response.fields[.accessControlMaxAge] = "600"
    }
}
