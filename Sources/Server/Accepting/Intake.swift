import EventLoop
import HTTPProtocol
import HTTPTypes
import Metrics
import Telemetry

/// From an accepted descriptor to a connection that speaks HTTP: is there room, for whom is it (the PROXY header), is
/// it secure (TLS). One a loop.
///
/// A connection is counted, in all and for its address, before it can cost anything, and given back once: here where it ends
/// before it speaks HTTP, by `LiveLoop.connectionClosed` afterwards. Who is refused is told so in words, as far as there is
/// anybody to hear them: a bounded number of connections answers its first request with the reason. Behind TLS nobody does.
final class Intake {
    private unowned let live: LiveLoop
    private var handshakes = HandshakesInProgress<TLSAcceptor>()
    private var refusals = 0

    private static let refusalLimit = 64

    init(live: LiveLoop) { self.live = live }

    private var server: ServerCore { live.server }
    private var limits: LimitSettings { server.settings.limits }
    private var loop: EventLoop { live.loop }

    func accept(_ descriptor: consuming Descriptor, from peer: SocketAddress) {
        server.measurements.connectionsAccepted.increment()
        guard server.limits.open() else { return refuse(descriptor, .full, .connections, server.limits.group(peer)) }
        guard limits.expectsProxyHeader, limits.isTrusted(peer) else { return admit(descriptor, peer) }
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

    /// The peer is known. A trusted proxy brings many people; each is counted by the address that it brings.
    private func admit(_ descriptor: consuming Descriptor, _ peer: SocketAddress) {
        let group = limits.isTrusted(peer) ? .none : server.limits.group(peer)
        guard server.limits.connect(group) == .granted else {
            server.limits.close()
            return refuse(descriptor, .tooManyConnections, .address, group)
        }
        guard !server.memory.isShort else {
            leave(group)
            return refuse(descriptor, .shortOfMemory, .memory, group)
        }
        if let context = server.tls { return secure(descriptor, peer, group, context) }
        begin(Connection(loop: loop, owning: descriptor), peer, group)
    }

    /// Gives back what was counted for a connection that never spoke HTTP.
    private func leave(_ group: AddressGroup) {
        server.limits.disconnect(group)
        server.limits.close()
    }

    private func secure(_ descriptor: consuming Descriptor, _ peer: SocketAddress, _ group: AddressGroup, _ context: TLSContext) {
        var hasBegun = false
        let acceptor = try? TLSAcceptor(
            loop: loop, owning: descriptor, context: context, tag: group.rawValue, seconds: limits.secureHandshakeSeconds,
            began: { [self] acceptor in
                guard server.limits.secureHandshake(group) == .granted else { return false }
                hasBegun = true
                handshakes.begin(acceptor, limit: limits.secureHandshakes)?.refuse()
                return true
            },
            completed: { [self] outcome in
                if hasBegun { handshakes.end() }
                switch outcome {
                case .secured(let connection):
                    server.measurements.secureHandshakes.increment()
                    return begin(connection, peer, group)
                case .plain(let connection):
                    leave(group)
                    return answer(connection, .needsTLS, group)
                case .failed: server.measurements.secureHandshakesFailed.increment()
                case .timedOut: server.measurements.slow(.secureHandshake)
                case .refused: server.measurements.refused(.secureHandshakes)
                }
                leave(group)
            })
        if acceptor == nil { leave(group) }
    }

    private func begin(_ connection: Connection, _ peer: SocketAddress, _ group: AddressGroup) {
        do {
            try HTTPConnection(live: live, peer: peer, group: group).start(connection)
        } catch {
            connection.close()
        }
    }

    private func refuse(_ descriptor: consuming Descriptor, _ problem: Problem, _ reason: Refusal, _ group: AddressGroup) {
        server.measurements.refused(reason)
        // Words in plain text are none to a peer that speaks TLS.
        if server.tls == nil { answer(Connection(loop: loop, owning: descriptor), problem, group) }
    }

    /// Answers the first request with the reason, and nothing else. The time that this takes is charged to the address.
    private func answer(_ connection: Connection, _ problem: Problem, _ group: AddressGroup) {
        guard refusals < Intake.refusalLimit else { return connection.close() }
        connection.tag = group.rawValue
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
        connection.closeWhenSent()
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
