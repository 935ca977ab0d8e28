import EventLoop
import HTTPProtocol
import HTTPTypes

/// Requests over as many connections as it takes: each goes out at once, on one that is free or on a new one.
final class RESTClient {
    typealias Method = HTTPRequest.Method
    /// The status and the content, or why there is none.
    typealias Answer = Result<(status: Int, body: [UInt8]), Failed>
    enum Failure: String { case connect, closed, malformed, timeout }

    private let loop: EventLoop
    private let address: SocketAddress
    private let timeoutSeconds: UInt32
    private var idle: [Exchange] = []
    private var isClosed = false

    init(loop: EventLoop, to address: SocketAddress, timeoutSeconds: UInt32) {
        self.loop = loop
        self.address = address
        self.timeoutSeconds = timeoutSeconds
    }

    /// - Parameter answered: called once, on the loop.
    func send(
        _ method: Method, _ path: String, key: String? = nil, body: String? = nil,
        answered: @escaping (Answer) -> Void
    ) {
        var head = HTTPRequest(method: method, scheme: nil, authority: "\(address)", path: path)
        if let key { head.headerFields[.authorization] = "Bearer \(key)" }
        if body != nil { head.headerFields[.contentType] = "application/json" }
        var bytes: [UInt8] = []
        MessageEncoder.encode(head, body: Array((body ?? "").utf8), into: &bytes)
        let exchange = idle.popLast() ?? Exchange(self)
        exchange.begin(bytes, to: address, answered)
    }

    struct Failed: Error { let reason: Failure }

    func close() {
        isClosed = true
        for exchange in idle { exchange.close() }
        idle = []
    }

    /// One connection, with one request on it at a time.
    private final class Exchange: ConnectionHandler {
        private let loop: EventLoop
        private let timeoutSeconds: UInt32
        /// Gone where a connection outlives what it was opened for.
        private weak var client: RESTClient?
        private var connector: Connector?
        private var connection: Connection?
        private var parser = ResponseParser(answering: .get)
        private var answered: ((Answer) -> Void)?

        init(_ client: RESTClient) {
            self.client = client
            loop = client.loop
            timeoutSeconds = client.timeoutSeconds
        }

        func begin(_ bytes: [UInt8], to address: SocketAddress, _ answered: @escaping (Answer) -> Void) {
            self.answered = answered
            if let connection { return send(bytes, on: connection) }
            do throws(SystemError) {
                connector = try Connector(loop: loop, to: address) { [self] result in
                    connector = nil
                    do throws(SystemError) {
                        let connection = try result.get()
                        connection.handler = self
                        self.connection = connection
                        try connection.start()
                        send(bytes, on: connection)
                    } catch {
                        fail(.connect)
                    }
                }
            } catch {
                fail(.connect)
            }
        }

        private func send(_ bytes: [UInt8], on connection: Connection) {
            connection.deadline = loop.second + timeoutSeconds
            connection.send(bytes)
        }

        func connection(_ connection: Connection, received bytes: inout MutableRawSpan) {
            parser.receive(bytes.bytes)
            do throws(HTTPRefusal) {
                guard let answer = try parser.next() else { return }
                connection.deadline = 0
                let closes = answer.response.headerFields[.connection] == "close"
                finish(.success((answer.response.status.code, answer.body)), keeps: !closes)
            } catch {
                fail(.malformed)
            }
        }

        private func finish(_ result: Answer, keeps: Bool) {
            guard let answered else { return }
            self.answered = nil
            if keeps, let client, !client.isClosed { client.idle.append(self) } else { close() }
            answered(result)
        }

        private func fail(_ reason: Failure) { finish(.failure(Failed(reason: reason)), keeps: false) }

        func close() {
            guard let connection else { return }
            self.connection = nil
            connection.close()
        }

        func connectionTimedOut(_ connection: Connection) { fail(.timeout) }

        func connectionClosed(_ connection: Connection) {
            self.connection = nil
            client?.idle.removeAll { $0 === self }
            fail(.closed)
        }
    }
}
