import EventLoop

/// Why a connection to Redis is no more, in words for people.
struct RedisFailure: Error {
    let reason: String
    /// The server will not let us in: to try again changes nothing by itself.
    var isRefusal = false
    /// A cluster's node that is asked for something that another one has. Without a name it is at the host that was asked
    /// (https://redis.io/docs/latest/operate/oss_and_stack/reference/cluster-spec/, "Redirection").
    var movedTo: (name: String?, port: UInt16)?

    init(_ reason: String, isRefusal: Bool = false) {
        self.reason = reason
        self.isRefusal = isRefusal
    }

    /// From a server's error, whose first word says what it is.
    init(answer: String) {
        let words = answer.split(separator: " ")
        reason = answer
        isRefusal = ["WRONGPASS", "NOAUTH", "NOPERM"].contains(words.first)
        if words.first == "MOVED", words.count == 3, let colon = words[2].lastIndex(of: ":"),
            let port = UInt16(words[2][words[2].index(after: colon)...])
        {
            let name = words[2][..<colon]
            movedTo = (name.isEmpty ? nil : String(name), port)
        }
    }
}

/// A connection to a Redis server: commands and their answers in order, and what a subscription brings. Confined to its
/// loop.
final class RedisConnection: ConnectionHandler {
    private let loop: EventLoop
    private let reader = RedisReader()
    private var connection: Connection?
    private var connector: Connector?
    private var pending: ArraySlice<(RedisReply) -> Void> = []
    private var isOver = false
    /// What a subscription brings: the payload of each message.
    var pushed: (([UInt8]) -> Void)?
    /// The end, once; not called after `close`.
    var ended: ((RedisFailure) -> Void)?

    /// Bytes that may wait because the server does not read.
    private static let outboxLimit: Int32 = 1 << 20
    /// Commands that may wait for their answers, and seconds in which the next of these must come.
    private static let (mostPending, answerSeconds): (Int, UInt32) = (10_000, 5)

    init(loop: EventLoop) { self.loop = loop }

    /// Connects, says who it is, and calls `connected`, or `ended`. How long that may take is the caller's to watch.
    func connect(to host: RedisAddress.Host, as credentials: RedisAddress.Credentials?, connected: @escaping () -> Void) {
        let bound = LoopBound(self, to: loop)
        let ready = LoopBound(Ready(connected), to: loop)
        HostLookup.addresses(of: host.name, port: host.port) { [loop] addresses in
            loop.execute { bound.onLoop.connect(to: addresses[...], host, credentials, ready.onLoop.call) }
        }
    }

    private final class Ready {
        let call: () -> Void
        init(_ call: @escaping () -> Void) { self.call = call }
    }

    private func connect(
        to addresses: ArraySlice<SocketAddress>, _ host: RedisAddress.Host, _ credentials: RedisAddress.Credentials?,
        _ connected: @escaping () -> Void
    ) {
        guard !isOver else { return }
        guard let address = addresses.first else { return fail(RedisFailure("\(host.name) is not known")) }
        do throws(SystemError) {
            connector = try Connector(loop: loop, to: address) { [weak self] result in
                guard let self, !isOver else { return }
                connector = nil
                switch result {
                case .success(let connection): begin(connection, credentials, connected)
                case .failure(let error):
                    if addresses.count > 1 { return connect(to: addresses.dropFirst(), host, credentials, connected) }
                    fail(RedisFailure("\(host): \(error)"))
                }
            }
        } catch {
            fail(RedisFailure("\(host): \(error)"))
        }
    }

    private func begin(_ connection: Connection, _ credentials: RedisAddress.Credentials?, _ connected: @escaping () -> Void) {
        self.connection = connection
        connection.handler = self
        connection.outboxLimit = RedisConnection.outboxLimit
        do throws(SystemError) { try connection.start() } catch { return fail(RedisFailure("\(error)")) }
        guard let credentials else { return connected() }
        command(["AUTH"] + (credentials.user.map { [$0] } ?? []) + [credentials.password]) { [weak self] reply in
            if case .error(let answer) = reply { self?.fail(RedisFailure(answer: answer)) } else { connected() }
        }
    }

    /// What the server has not taken yet.
    var unsentBytes: Int { connection?.unsentBytes ?? 0 }

    func command(_ parts: [String], _ answered: @escaping (RedisReply) -> Void) {
        command(parts.map { Array($0.utf8) }, answered)
    }

    func command(_ parts: [[UInt8]], _ answered: @escaping (RedisReply) -> Void) {
        guard !isOver, let connection else { return }
        guard pending.count < RedisConnection.mostPending else { return fail(RedisFailure("it does not answer what it is asked")) }
        if pending.isEmpty { connection.deadline = loop.second + RedisConnection.answerSeconds }
        pending.append(answered)
        if !connection.send(RedisCommand.encode(parts)) { fail(RedisFailure("it does not read what it is sent")) }
    }

    /// Ends it. Nobody is told.
    func close() {
        isOver = true
        pending = []
        (pushed, ended) = (nil, nil)
        connector = nil
        connection?.close()
        connection = nil
    }

    private func fail(_ failure: RedisFailure) {
        guard !isOver else { return }
        let ended = ended
        close()
        ended?(failure)
    }

    // MARK: What comes

    func connection(_ connection: Connection, received bytes: inout MutableRawSpan) {
        do throws(RedisReader.Broken) {
            try bytes.bytes.withUnsafeBytes { raw throws(RedisReader.Broken) in try reader.receive(raw) }
            while !isOver, let reply = try reader.next() { take(reply) }
        } catch {
            fail(RedisFailure("what it says is no Redis' (\(error.reason))"))
        }
    }

    private func take(_ reply: RedisReply) {
        if case .array(let parts) = reply, parts.count == 3, let kind = parts[0].text {
            if kind == "message" || kind == "smessage", case .bytes(let payload) = parts[2] {
                pushed?(payload)
                return
            }
            // A cluster has given the channel to another node.
            if kind == "sunsubscribe" || kind == "unsubscribe" { return fail(RedisFailure("the subscription was ended")) }
        }
        guard let answered = pending.popFirst() else { return fail(RedisFailure("it answers what it was not asked")) }
        connection?.deadline = pending.isEmpty ? 0 : loop.second + RedisConnection.answerSeconds
        answered(reply)
    }

    func connectionPeerClosed(_ connection: Connection) { fail(RedisFailure("it has closed the connection")) }
    func connectionTimedOut(_ connection: Connection) { fail(RedisFailure("it does not answer what it is asked")) }
    func connectionClosed(_ connection: Connection) { fail(RedisFailure("the connection has ended")) }
}
