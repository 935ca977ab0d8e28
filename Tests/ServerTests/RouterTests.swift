import EventLoop
import HTTPProtocol
import Logging
import Telemetry
import Testing

@testable import Server

@Suite struct RouterTests {
    private let registry = PrometheusRegistry()

    private func request(_ text: String) throws -> Request {
        var parser = RequestParser(limits: HTTPLimits())
        parser.receive(Array(text.utf8).span.bytes)
        guard case .request(let parsed) = try parser.next() else { throw Problem.notFound }
        return try Request(parsed, peer: SocketAddress("127.0.0.1:1")!)
    }

    /// A key that is not known waits until all keys have been read again: strangers must not fill the log of what is slow with that.
    @Test(arguments: [("/known", 1), ("/stranger", 0)]) func unknownKeyIsNotLoggedAsSlow(path: String, told: Int64) async throws {
        let slow = SlowOperations(milliseconds: 0, registry: registry, log: Logger(label: "t", factory: { _ in SwiftLogNoOpLogHandler() }))
        let browsers = BrowserPolicy(ServerSettings())
        var router = Router(browsers: browsers, measurements: Measurements(registry: registry).http, slow: slow, log: Logger(label: "t"))
        router.on(.get, "/known") { _, _ in Response(.noContent) }
        router.on(.get, "/stranger") { _, _ in throw Problem.unauthorized }
        let asked = try request("GET \(path) HTTP/1.1\r\nHost: a\r\n\r\n")

        _ = await router.respond(to: asked, since: 0, as: nil)
        #expect(registry.count(of: "stanchion_slow_operations_total") == told)
        // From the first slow one on each request is traced.
        slow.took(1, "another")
        let traced: Operation? = slow.begin("request")
        #expect(traced != nil)
        _ = await router.respond(to: asked, since: 0, as: traced)
        #expect(registry.count(of: "stanchion_slow_operations_total") == 1 + 2 * told)
    }
}
