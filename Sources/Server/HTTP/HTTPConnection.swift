import EventLoop
import HTTPProtocol
import HTTPTypes
import Telemetry

/// A connection while it speaks HTTP: one request after the other, each answered before the next is looked at.
final class HTTPConnection: ConnectionHandler {
    private struct Judgement {
        /// It shows a key that is known.
        var hasKey = false
        /// It has been charged to its address already.
        var isCharged = false
        /// The page's origin, for an answer before all of it has come.
        var origin: String?
    }

    private let live: LiveLoop
    private let peer: SocketAddress
    /// Whom the connection counts for; nobody where it is a proxy's.
    private let group: AddressGroup
    private var parser: RequestParser
    private var isAnswering = false
    /// Requests are being looked at, one after the other: an answer that is there at once only makes room for the next.
    private var isAdvancing = false
    /// The loop is to say when it goes on.
    private var isWaitingForTurn = false
    /// An answer has gone, and the time for which an idle connection is kept runs from it.
    private var hasAnswered = false
    /// No request has come yet.
    private var isFirst = true
    /// Bytes of a request that is not complete have come.
    private var hasBegun = false
    /// What is known of the request whose content is coming.
    private var judgement = Judgement()
    private var closesAfterAnswer = false
    /// The answer to a WebSocket handshake, while the request that asked for it is with the routes.
    private var handshake: Upgrade?

    init(live: LiveLoop, peer: SocketAddress, group: AddressGroup) {
        self.live = live
        self.peer = peer
        self.group = group
        parser = RequestParser(limits: live.server.settings.http)
    }

    func start(_ connection: Connection) throws {
        connection.handler = self
        connection.tag = group.rawValue
        connection.outboxLimit = 16 << 20  // One answer at a time: bounded by what an answer can be.
        connection.readsLittle = true
        connection.deadline = live.loop.second + live.server.settings.requestSeconds
        try connection.start()
    }

    func connection(_ connection: Connection, received bytes: inout MutableRawSpan) {
        parser.receive(bytes.bytes)
        advance(connection)
    }

    /// Steps of one connection before it waits for its turn. A step is a head, the leave to send content, a request, or finding that
    /// more must come.
    private static let stepsAtOnce = 4

    /// Looks at what has come, as far as it can be answered now.
    private func advance(_ connection: Connection) {
        guard !isAdvancing, !isWaitingForTurn else { return }
        isAdvancing = true
        defer { isAdvancing = false }
        for _ in 0..<HTTPConnection.stepsAtOnce {
            guard !isAnswering, connection.isOpen, connection.handler === self else { return }
            guard connection.unsentBytes == 0 else { return connectionBlocked(connection) }
            guard step(connection) else { return }
        }
        // The last one may have made somebody else the handler.
        guard !isAnswering, connection.isOpen, connection.handler === self else { return }
        waitForTurn(connection)
    }

    private func waitForTurn(_ connection: Connection) {
        // No more is read meanwhile.
        connection.pauseReading()
        isWaitingForTurn = true
        connection.waitForTurn()
    }

    func connectionHasTurn(_ connection: Connection) {
        isWaitingForTurn = false
        advance(connection)
    }

    /// Goes on after an answer, or a look at the key. What is there of a request waits for its turn like bytes that come.
    private func goOn(_ connection: Connection) {
        if parser.isMidRequest, !isAdvancing { waitForTurn(connection) } else { advance(connection) }
    }

    /// Takes the next request, or a part of it. False: more must come first.
    private func step(_ connection: Connection) -> Bool {
        do throws(HTTPRefusal) {
            switch try parser.next() {
            case .needsMore:
                setDeadline(connection)
                connection.resumeReading()
                return false
            case .head(let request): return judge(request, connection)
            case .expectsContinue: connection.send(Array("HTTP/1.1 100 Continue\r\n\r\n".utf8))
            case .request(let parsed): take(parsed, connection)
            }
        } catch {
            refuse(Problem(error.status, HTTPConnection.code(error), "the request was refused: \(HTTPConnection.words(error))"), connection)
        }
        return true
    }

    /// Without a key the content may be as long as a visitor's message. False: whether a key is known is being found out.
    private func judge(_ request: HTTPRequest, _ connection: Connection) -> Bool {
        judgement.hasKey = showsKey(request.headerFields)
        if live.server.browsers.allowsOthers { judgement.origin = request.headerFields[.origin] }
        let most = live.server.settings.messageBytes
        guard !judgement.hasKey else { return true }
        guard let key = request.headerFields.apiKey, request.mayHaveContent(over: most) else {
            parser.limitBody(to: most)
            return true
        }
        do throws(Problem) { try charge(request.headerFields, of: addressOfClient(request.headerFields), isPaid: isFirst) } catch {
            refuse(error, connection)
            return false
        }
        judgement.isCharged = true
        isAnswering = true
        connection.pauseReading()
        connection.deadline = 0
        let bound = LoopBound((self, connection), to: live.loop)
        Task(executorPreference: live.loop) { [keys = live.server.keys] in
            let isKnown = await keys.find(key) != nil
            let (http, connection) = bound.onLoop
            http.judged(isKnown, connection)
        }
        return false
    }

    private func judged(_ isKnown: Bool, _ connection: Connection) {
        isAnswering = false
        guard connection.isOpen else { return }
        judgement.hasKey = isKnown
        guard isKnown else { return refuse(.unauthorized, connection) }
        connection.deadline = live.loop.second + live.server.settings.requestSeconds
        goOn(connection)
    }

    /// The time for a request runs from its first byte, and that for which nothing need come from the last answer: bytes that
    /// trickle in do not buy more of it.
    private func setDeadline(_ connection: Connection) {
        let settings = live.server.settings
        if !parser.isMidRequest {
            if hasAnswered { connection.deadline = live.loop.second + settings.keepAliveSeconds }
            hasAnswered = false
        } else if !hasBegun {
            connection.deadline = live.loop.second + settings.requestSeconds
        }
        hasBegun = parser.isMidRequest
    }

    private func take(_ parsed: ParsedRequest, _ connection: Connection) {
        hasBegun = false
        defer { judgement = Judgement() }
        let isPaid = isFirst
        isFirst = false
        closesAfterAnswer = !parsed.keepsAlive || live.isDraining
        do throws(Problem) {
            let client = addressOfClient(parsed.fields)
            // A malformed request is charged, too.
            if !judgement.isCharged { try charge(parsed.fields, of: client, isPaid: isPaid) }
            let request = try Request(parsed, peer: client, below: live.server.settings.basePath)
            if request.isFor("v1", "live") { return try upgrade(request, connection) }
            // Events need a look at the keys first; whether this can become a WebSocket at all is known now.
            let isReader = request.wantsUpgrade && request.isFor("v1", "events")
            handshake = isReader ? try live.handshake(request, subprotocols: [], on: connection) : nil
            isAnswering = true
            connection.pauseReading()
            connection.deadline = 0
            answer(request, LoopBound((self, connection), to: live.loop))
        } catch {
            let refusal = live.router.refusal(error, origin: parsed.fields[.origin], host: parsed.request.authority)
            send(refusal, to: connection, head: parsed.request.method == .head)
        }
    }

    private func addressOfClient(_ fields: HTTPFields) -> SocketAddress {
        let limits = live.server.settings.limits
        // Proxies and loopback alone are charged to nobody.
        if group == .none { live.server.warnOfUnreadField(fields, from: peer) }
        return ClientAddress.find(fields, peer: peer, trusted: limits.trustedProxies, in: limits.clientAddressField)
    }

    /// Charges the request to its address. Who shows a key is charged nothing: an integrator's server acts for many people.
    ///
    /// - Parameter isPaid: whoever opened the connection was charged for it then.
    private func charge(_ fields: HTTPFields, of client: SocketAddress, isPaid: Bool) throws(Problem) {
        let group = live.server.limits.group(client)
        guard group != .none, !(isPaid && group == self.group) else { return }
        if judgement.hasKey || showsKey(fields) { return }
        guard case .refused(let seconds) = live.server.limits.request(group) else { return }
        live.server.measurements.refused(.requests)
        // The next one is not even read.
        closesAfterAnswer = true
        throw Problem(.tooManyRequests, "rate_limited", "too many requests from this address", retryAfterSeconds: seconds)
    }

    private func showsKey(_ fields: HTTPFields) -> Bool { fields.apiKey.map { live.server.keys.knows($0) } ?? false }

    private func answer(_ request: Request, _ bound: LoopBound<(HTTPConnection, Connection)>) {
        let router = live.router
        let began = EventLoop.monotonicNow()
        func start(_ operation: Operation?) {
            Task(executorPreference: live.loop) {
                let response = await router.respond(to: request, since: began, as: operation)
                let (http, connection) = bound.onLoop
                http.send(response, to: connection, head: request.method == .head, isHTTP11: request.isHTTP11)
            }
        }
        guard let operation = live.server.slow?.begin("request") else { return start(nil) }
        operation.within { start(operation) }
    }

    private func send(_ response: Response, to connection: Connection, head: Bool, isHTTP11: Bool = true) {
        isAnswering = false
        hasAnswered = true
        // Gone while the answer was made: a handler set now would never be let go of.
        guard connection.isOpen else { return }
        if let follower = response.follower {
            return stream(follower, response.sentFields(closes: true), to: connection, head: head, isChunked: isHTTP11)
        }
        live.uncount(connection, to: group)
        write(response, to: connection, head: head)
        if closesAfterAnswer { return connection.closeWhenSent() }
        if connection.unsentBytes > 0 { connectionBlocked(connection) }
        goOn(connection)
    }

    /// What does not fit into the kernel waits as the routes made it: of what many are sent there is one copy.
    private func write(_ response: Response, to connection: Connection, head: Bool) {
        guard response.body.count > HTTPConnection.mostCopied, !head else {
            connection.send(response.encoded(closes: closesAfterAnswer, head: head))
            return
        }
        connection.together {
            connection.send(response.encoded(closes: closesAfterAnswer, head: true))
            connection.send(shared: response.body)
        }
    }

    /// Bytes of a body that are sent behind its head in one piece.
    private static let mostCopied = 4_096

    /// The next request is looked at when this one's answer has been taken, and a client that takes too little of it is sent away.
    func connectionBlocked(_ connection: Connection) {
        guard !isAnswering else { return }
        connection.pauseReading()
        connection.noteProgress()
        connection.deadline = live.loop.second + live.server.settings.stallSeconds + 1
    }

    /// Hands the connection over to a reader of events: a WebSocket where one was asked for, otherwise a stream,
    /// which has no length: it comes in chunks, and in HTTP/1.0 it ends when the connection does (RFC 9112 §6.3).
    private func stream(_ reader: EventReader, _ fields: HTTPFields, to connection: Connection, head: Bool, isChunked: Bool) {
        if let handshake {
            connection.send(handshake.response)
            EventSocket(live: live, connection: connection, reader: reader, deflate: handshake.deflate).start()
            return connection.receive(rest: parser.takeRest())
        }
        var text = "HTTP/1.1 200 OK\r\n"
        for field in fields { text += "\(field.name): \(field.value)\r\n" }
        if isChunked { text += "Transfer-Encoding: chunked\r\n" }
        connection.send(Array((text + "\r\n").utf8))
        if head { return connection.closeWhenSent() }
        EventStream(live: live, connection: connection, reader: reader, isChunked: isChunked).start()
    }

    /// Answers what cannot be gone on with.
    private func refuse(_ problem: Problem, _ connection: Connection) {
        closesAfterAnswer = true
        send(live.router.refusal(problem, origin: judgement.origin), to: connection, head: false)
    }

    func connectionDrained(_ connection: Connection) { advance(connection) }

    func connectionPeerClosed(_ connection: Connection) {
        // A half-closed peer still gets its answer.
        if isAnswering { closesAfterAnswer = true } else { connection.closeWhenSent() }
    }

    func connectionTimedOut(_ connection: Connection) {
        if connection.unsentBytes > 0 {
            guard !connection.isTooSlow(over: live.server.settings.stallSeconds) else {
                connectionGivenUp(connection)
                return connection.close()
            }
            return connectionBlocked(connection)
        }
        guard parser.isMidRequest else {
            if isFirst { live.server.measurements.slow(.silent) }
            return connection.closeWhenSent()
        }
        live.server.measurements.slow(parser.isMidBody ? .requestBody : .requestHead)
        refuse(Problem(.requestTimeout, "request_timeout", "the request did not come in time"), connection)
    }

    func connectionGivenUp(_ connection: Connection) { live.server.measurements.slow(.reading) }

    func connectionClosed(_ connection: Connection) { live.connectionClosed(connection) }

    /// Told on a drain: an idle connection is closed, a busy one after its answer.
    func drain(_ connection: Connection) {
        closesAfterAnswer = true
        if !isAnswering, !parser.isMidRequest { connection.closeWhenSent() }
    }

    // MARK: Upgrades

    /// Becomes a visitor's WebSocket; what came behind the request is its first bytes.
    private func upgrade(_ request: Request, _ connection: Connection) throws(Problem) {
        let handshake = try live.handshake(request, subprotocols: ["stanchion.v1"], on: connection)
        connection.send(handshake.response)
        connection.handler = LiveVisitor(live: live, connection: connection, deflate: handshake.deflate)
        connection.receive(rest: parser.takeRest())
        // Reading stopped where the request stood behind others whose answers had to wait.
        connection.resumeReading()
    }

    private static func code(_ refusal: HTTPRefusal) -> String {
        switch refusal {
        case .malformed: "malformed_request"
        case .lineTooLong: "line_too_long"
        case .fieldsTooLarge: "fields_too_large"
        case .bodyTooLarge: "body_too_large"
        case .unknownTransferCoding: "unknown_transfer_coding"
        case .unknownVersion: "unknown_version"
        case .unknownExpectation: "unknown_expectation"
        }
    }

    private static func words(_ refusal: HTTPRefusal) -> String {
        if case .malformed(let rule) = refusal { rule } else { code(refusal).replacing("_", with: " ") }
    }
}
