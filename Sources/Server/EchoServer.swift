public import EventLoop
import HTTPProtocol
import HTTPTypes
import WebSocketProtocol

/// A WebSocket echo with nothing behind it: what the socket and protocol layers do by themselves.
public enum EchoServer {
    /// Messages may be as large as the conformance suite's largest.
    static let messageBytes = 32 << 20

    /// - Parameter tls: serve TLS; nil: plain.
    /// - Returns: the address that was bound.
    public static func start(on address: SocketAddress, loops: Int, tls: TLSContext? = nil) throws(SystemError) -> SocketAddress {
        let group = try EventLoopGroup(count: loops)
        let workers = group.loops.map { LoopBound(EchoLoop(loop: $0), to: $0) }
        return try group.listen(
            on: address, report: { _ in },
            started: { _, listener in
                _ = Unmanaged.passRetained(listener)
            },
            accepted: { loop, descriptor, _ in workers[loop.index].onLoop.accept(descriptor, tls) })
    }
}

private final class EchoLoop {
    let loop: EventLoop
    var encoder = FrameEncoder()
    private let policy = DeflatePolicy()
    private var pool: DeflatePool

    init(loop: EventLoop) {
        self.loop = loop
        pool = DeflatePool(minimumBytes: policy.minimumBytes)
    }

    func accept(_ descriptor: consuming Descriptor, _ tls: TLSContext?) {
        guard let tls else { return begin(Connection(loop: loop, owning: descriptor)) }
        _ = try? TLSAcceptor(loop: loop, owning: descriptor, context: tls, seconds: 10) { [self] outcome in
            if case .secured(let connection) = outcome { begin(connection) }
        }
    }

    private func begin(_ connection: Connection) {
        connection.handler = EchoHandshake(self)
        connection.deadline = loop.second + 15
        do throws(SystemError) { try connection.start() } catch { connection.close() }
    }

    /// What a request is answered with, and the WebSocket that it becomes.
    func answer(_ request: ParsedRequest) throws(HandshakeRefusal) -> ([UInt8], PermessageDeflate?) {
        let answer = try Handshake.answer(
            method: request.request.method.rawValue, fields: Handshake.Fields(request.fields), supported: [], deflate: policy)
        return (answer.response, answer.deflate.map { pool.deflate($0) })
    }
}

private final class EchoHandshake: ConnectionHandler {
    private let echo: EchoLoop
    private var parser = RequestParser()

    init(_ echo: EchoLoop) { self.echo = echo }

    func connection(_ connection: Connection, received bytes: inout MutableRawSpan) {
        parser.receive(bytes.bytes)
        let deflate: PermessageDeflate?
        do {
            guard case .request(let request) = try parser.next() else { return }
            let response: [UInt8]
            (response, deflate) = try echo.answer(request)
            connection.send(response)
        } catch {
            connection.send(Array("HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".utf8))
            return connection.closeWhenSent()
        }
        connection.deadline = 0
        connection.outboxLimit = Int32(EchoServer.messageBytes * 2)
        let session = EchoSession(echo, deflate)
        connection.handler = session
        connection.receive(rest: parser.takeRest())
    }

    func connectionTimedOut(_ connection: Connection) { connection.close() }
}

private final class EchoSession: ConnectionHandler {
    private let echo: EchoLoop
    private var webSocket: WebSocket

    init(_ echo: EchoLoop, _ deflate: PermessageDeflate?) {
        self.echo = echo
        webSocket = WebSocket(messageLimit: EchoServer.messageBytes, deflate: deflate)
    }

    func connection(_ connection: Connection, received bytes: inout MutableRawSpan) {
        var position = 0
        while let event = webSocket.next(&bytes, &position) {
            switch event {
            case .message(let payload, let isText):
                payload.withUnsafeBytes(in: bytes) { send($0, isText ? .text : .binary, to: connection) }
            case .ping(let pong): connection.send(pong)
            case .pong: break
            case .ended(_, let reply, let error):
                connection.end(reply, error)
            }
        }
    }

    private func send(_ message: UnsafeRawBufferPointer, _ opcode: Opcode, to connection: Connection) {
        guard webSocket.deflate == nil else {
            echo.encoder.reset()
            echo.encoder.payload.append(contentsOf: message)
            return echo.encoder.finish(opcode, deflate: webSocket.deflate) { _ = connection.send($0) }
        }
        let header = FrameEncoder.header(opcode, length: message.count)
        _ = header.withUnsafeBytes { connection.send($0) }
        connection.send(message)
    }

    func connectionTimedOut(_ connection: Connection) { connection.close() }
}
