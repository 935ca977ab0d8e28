import EventLoop

/// Finds out which server to speak to, and opens the two connections of a bus to it. One attempt; confined to its loop.
///
/// - One server: it is that one.
/// - Sentinel: the sentinels are asked in turn, and who they name must say itself that it is the master.
/// - Cluster: any node will do; the one that does not have the channel's slot says which one does.
final class RedisEndpoint {
    /// What is open: one connection to speak on, one that only listens.
    struct Link {
        let speaking: RedisConnection
        let listening: RedisConnection
        /// Sharded channels (Redis 7): `SPUBLISH` goes to one node, `PUBLISH` to all.
        let isSharded: Bool
    }

    private let loop: EventLoop
    private let address: RedisAddress
    private let pushed: ([UInt8]) -> Void
    private let completed: (Result<Link, RedisFailure>) -> Void
    private var open: [RedisConnection] = []
    private var isOver = false
    private var redirections = 0
    private var timer: TimerID?

    static let seconds: UInt64 = 5

    /// - Parameter turn: which of the hosts is asked: another one with each attempt.
    init(
        loop: EventLoop, address: RedisAddress, turn: Int, pushed: @escaping ([UInt8]) -> Void,
        completed: @escaping (Result<Link, RedisFailure>) -> Void
    ) {
        self.loop = loop
        self.address = address
        self.pushed = pushed
        self.completed = completed
        timer = loop.schedule(after: RedisEndpoint.seconds * 1_000_000_000) { [weak self] in
            self?.fail(RedisFailure("no answer within \(RedisEndpoint.seconds) s"))
        }
        let host = address.hosts[turn % address.hosts.count]
        if case .sentinel(let master) = address.kind { ask(sentinel: host, for: master) } else { connect(to: host) }
    }

    /// Gives it up. Nobody is told.
    func cancel() {
        isOver = true
        if let timer { loop.cancel(timer) }
        for connection in open { connection.close() }
        open = []
    }

    private func fail(_ failure: RedisFailure) {
        guard !isOver else { return }
        cancel()
        completed(.failure(failure))
    }

    private func connection(
        to host: RedisAddress.Host, as credentials: RedisAddress.Credentials?, _ ready: @escaping (RedisConnection) -> Void
    ) {
        let connection = RedisConnection(loop: loop)
        open.append(connection)
        connection.ended = { [weak self] failure in self?.fail(failure) }
        connection.connect(to: host, as: credentials) { [weak connection] in if let connection { ready(connection) } }
    }

    // MARK: Sentinel

    private func ask(sentinel: RedisAddress.Host, for master: String) {
        connection(to: sentinel, as: address.sentinelCredentials) { [self] connection in
            connection.command(["SENTINEL", "GET-MASTER-ADDR-BY-NAME", master]) { [self] reply in
                connection.close()
                open.removeAll { $0 === connection }
                if case .error(let answer) = reply { return fail(RedisFailure(answer: answer)) }
                guard case .array(let parts) = reply, parts.count == 2, let name = parts[0].text,
                    let port = parts[1].text.flatMap(UInt16.init)
                else { return fail(RedisFailure("the sentinel \(sentinel) knows nothing of \(master)")) }
                connect(to: RedisAddress.Host(name: name, port: port))
            }
        }
    }

    // MARK: The server

    private func connect(to host: RedisAddress.Host) {
        connection(to: host, as: address.credentials) { [self] speaking in
            guard case .sentinel = address.kind else { return listen(at: host, speaking) }
            RedisEndpoint.checkIsMaster(speaking) { [self] failure in
                if let failure { fail(failure) } else { listen(at: host, speaking) }
            }
        }
    }

    /// A server that was the master may go on as somebody's copy, and what is said there reaches nobody. Answers with what
    /// is wrong; nil: it is the master.
    static func checkIsMaster(_ connection: RedisConnection, _ answered: @escaping (RedisFailure?) -> Void) {
        connection.command(["ROLE"]) { reply in
            switch reply {
            case .array(let parts) where parts.first?.text == "master": answered(nil)
            case .error(let answer): answered(RedisFailure(answer: answer))
            default: answered(RedisFailure("the server is no master any more"))
            }
        }
    }

    private func listen(at host: RedisAddress.Host, _ speaking: RedisConnection) {
        connection(to: host, as: address.credentials) { [self] listening in
            listening.pushed = pushed
            subscribe(speaking, listening, at: host, isSharded: address.kind == .cluster)
        }
    }

    private func subscribe(
        _ speaking: RedisConnection, _ listening: RedisConnection, at host: RedisAddress.Host, isSharded: Bool
    ) {
        listening.command([isSharded ? "SSUBSCRIBE" : "SUBSCRIBE", address.channel]) { [self] reply in
            guard case .error(let answer) = reply else {
                return succeed(Link(speaking: speaking, listening: listening, isSharded: isSharded))
            }
            let failure = RedisFailure(answer: answer)
            // Who is no cluster's node has nobody to send us to, with the password.
            if address.kind == .cluster, let target = failure.movedTo {
                return follow(to: RedisAddress.Host(name: target.name ?? host.name, port: target.port))
            }
            // A server before 7 has no sharded channels, and tells all its nodes.
            if isSharded, answer.hasPrefix("ERR unknown command") { return subscribe(speaking, listening, at: host, isSharded: false) }
            fail(failure)
        }
    }

    private func follow(to host: RedisAddress.Host) {
        redirections += 1
        guard redirections < 5 else { return fail(RedisFailure("the cluster's nodes send us round in circles")) }
        for connection in open { connection.close() }
        open = []
        connect(to: host)
    }

    private func succeed(_ link: Link) {
        guard !isOver else { return }
        isOver = true
        if let timer { loop.cancel(timer) }
        for connection in open { connection.ended = nil }
        completed(.success(link))
    }
}
