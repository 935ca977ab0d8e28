import EventLoop
import HTTPProtocol
import HTTPTypes
import Metrics
import Telemetry

/// From an accepted descriptor to a connection that speaks HTTP: is there room, for whom is it (the PROXY header), is
/// it secure (TLS). One a loop.
///
/// Who is refused is told so in words, as far as there is anybody to hear them: a bounded number of connections answers
/// its first request with the reason.
final class Intake {
    private unowned let live: LiveLoop
    private var secureHandshakes = 0
    private var refusals = 0

    private static let refusalLimit = 64

    init(live: LiveLoop) { self.live = live }

    private var server: ServerCore { live.server }
    private var limits: LimitSettings { server.settings.limits }
    private var loop: EventLoop { live.loop }

    func accept(_ descriptor: consuming Descriptor, from peer: SocketAddress) {
        server.measurements.connectionsAccepted.increment()
        guard server.limits.open() else { return refuse(Connection(loop: loop, owning: descriptor), .full, reason: .connections) }
        guard limits.expectsProxyHeader, limits.trustedProxies.contains(where: { $0.contains(peer) }) else {
            return admit(descriptor, peer)
        }
        let reader = try? ProxyHeaderReader(loop: loop, owning: descriptor, seconds: limits.secureHandshakeSeconds) {
            [self] descriptor, outcome in
            guard let descriptor = consume descriptor else {
                if case .timedOut = outcome { server.measurements.slow(.proxyHeader) }
                return server.limits.close()
            }
            if case .known(let source) = outcome { admit(descriptor, source ?? peer) }
        }
        if reader == nil { server.limits.close() }
    }

    /// The peer is known.
    private func admit(_ descriptor: consuming Descriptor, _ peer: SocketAddress) {
        if let context = server.tls { return secure(descriptor, peer, context) }
        begin(Connection(loop: loop, owning: descriptor), peer)
    }

    private func secure(_ descriptor: consuming Descriptor, _ peer: SocketAddress, _ context: TLSContext) {
        guard secureHandshakes < limits.secureHandshakes else {
            server.measurements.refused(.secureHandshakes)
            return server.limits.close()
        }
        secureHandshakes += 1
        let acceptor = try? TLSAcceptor(loop: loop, owning: descriptor, context: context, seconds: limits.secureHandshakeSeconds) {
            [self] outcome in
            secureHandshakes -= 1
            switch outcome {
            case .secured(let connection):
                server.measurements.secureHandshakes.increment()
                begin(connection, peer)
            case .plain(let connection): refuse(connection, .needsTLS, isCounted: true)
            case .failed:
                server.measurements.secureHandshakesFailed.increment()
                server.limits.close()
            case .timedOut:
                server.measurements.slow(.secureHandshake)
                server.limits.close()
            }
        }
        if acceptor == nil {
            secureHandshakes -= 1
            server.limits.close()
        }
    }

    private func begin(_ connection: Connection, _ peer: SocketAddress) {
        if server.memory.isShort { return refuse(connection, .shortOfMemory, reason: .memory, isCounted: true) }
        // A trusted proxy brings many people; each is counted by the address that it brings.
        if !limits.trustedProxies.contains(where: { $0.contains(peer) }) {
            guard live.count(connection, server.limits.group(peer)) else {
                return refuse(connection, .tooManyConnections, reason: .address, isCounted: true)
            }
        }
        do {
            try HTTPConnection(live: live, peer: peer).start(connection)
        } catch {
            connection.close()
        }
    }

    /// Answers the first request with the reason, and nothing else.
    private func refuse(_ connection: Connection, _ problem: Problem, reason: Refusal? = nil, isCounted: Bool = false) {
        if let reason { server.measurements.refused(reason) }
        if isCounted { server.limits.close() }
        guard refusals < Intake.refusalLimit else { return connection.close() }
        refusals += 1
        RefusedConnection(http: server.settings.http, problem: problem) { [self] in refusals -= 1 }.start(connection)
    }
}

/// A connection that is not taken: its first request is answered with the reason.
private final class RefusedConnection: ConnectionHandler {
    private let limits: HTTPLimits
    private let problem: Problem
    private let ended: () -> Void
    private var parser: RequestParser

    init(http limits: HTTPLimits, problem: Problem, ended: @escaping () -> Void) {
        self.limits = limits
        self.problem = problem
        self.ended = ended
        parser = RequestParser(limits: limits)
    }

    func start(_ connection: Connection) {
        connection.handler = self
        connection.deadline = connection.loop.second + 6
        do throws(SystemError) { try connection.start() } catch { connection.close() }
    }

    func connection(_ connection: Connection, received bytes: inout MutableRawSpan) {
        parser.receive(bytes.bytes)
        do throws(HTTPRefusal) { if case .needsMore = try parser.next() { return } } catch {}
        connection.send(problem.response.encoded(closes: true))
        connection.closeWhenSent(within: 2)
    }

    func connectionTimedOut(_ connection: Connection) { connection.close() }
    func connectionClosed(_ connection: Connection) { ended() }
}

extension Problem {
    static let full = Problem(.serviceUnavailable, "too_many_connections", "this server is full", retryAfterSeconds: 10)
    static let shortOfMemory = Problem(
        .serviceUnavailable, "short_of_memory", "this server has no memory for more connections", retryAfterSeconds: 10)
    static let tooManyConnections = Problem(
        .tooManyRequests, "too_many_connections", "too many connections from this address", retryAfterSeconds: 30)
    static let needsTLS = Problem(.badRequest, "tls_required", "this port speaks HTTPS: use https:// or wss://")
}
