public import EventLoop
import HTTPProtocol
import HTTPTypes
import WebSocketProtocol

/// A visitor's side of the line: connects, upgrades, joins or resumes, and tells what it hears. A client like any
/// other; it knows nothing of the server's inside.
public final class LineClient: ConnectionHandler {
    public enum Event {
        case joined, admitted, ended
        case position
        /// Gone, with the close code where there was one.
        case closed(UInt16?)
    }

    private enum Stage { case connecting, handshake, open, closed }

    private let loop: EventLoop
    private let first: String
    private let heard: (LineClient, Event, RawSpan) -> Void
    private var stage = Stage.connecting
    private var connector: Connector?
    private var connection: Connection?
    private var response = ResponseParser(answering: .get)
    private var webSocket = WebSocket(role: .client, messageLimit: 65_536)
    private var closeCode: UInt16?

    /// - Parameters:
    ///   - first: the first frame, a `join` or `resume`.
    ///   - heard: told of what comes, with the frame's JSON, on the loop.
    public init(
        loop: EventLoop, to address: SocketAddress, from source: SocketAddress? = nil, receiveBuffer: Int32? = nil, first: String,
        heard: @escaping (LineClient, Event, RawSpan) -> Void
    ) throws(SystemError) {
        self.loop = loop
        self.first = first
        self.heard = heard
        connector = try Connector(loop: loop, to: address, from: source, receiveBuffer: receiveBuffer) { [self] result in
            connector = nil
            switch result {
            case .success(let connection) where stage == .closed: connection.close()
            case .success(let connection): begin(connection, host: address)
            case .failure: ended()
            }
        }
    }

    private func begin(_ connection: Connection, host: SocketAddress) {
        self.connection = connection
        connection.handler = self
        stage = .handshake
        do throws(SystemError) { try connection.start() } catch { return ended() }
        let key = Handshake.key((0..<16).map { _ in UInt8.random(in: 0...255) })
        connection.send(
            Array(
                """
                GET /v1/live HTTP/1.1\r\nHost: \(host)\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
                Sec-WebSocket-Protocol: stanchion.v1\r\nSec-WebSocket-Key: \(key)\r\n\r\n
                """.utf8))
    }

    /// Sends a text message.
    public func send(_ text: String) {
        guard stage == .open else { return }
        connection?.send(FrameEncoder.frame(.text, text.utf8, mask: UInt32.random(in: 1...UInt32.max)))
    }

    /// Reads nothing any more, as a client does whose machine is too busy.
    public func stopReading() { connection?.pauseReading() }

    /// Begins the closing handshake.
    public func close() {
        guard stage == .open, let frame = webSocket.close(.normal, mask: UInt32.random(in: 1...UInt32.max)) else { return }
        connection?.sendLast(frame)
    }

    /// Is gone without a word.
    public func abort() {
        // Nobody is told of what they did themselves.
        stage = .closed
        connection?.close()
    }

    private func ended() {
        guard stage != .closed else { return }
        stage = .closed
        heard(self, .closed(closeCode), RawSpan())
    }

    public func connection(_ connection: Connection, received bytes: inout MutableRawSpan) {
        guard stage == .handshake else { return take(&bytes, connection) }
        response.receive(bytes.bytes)
        do {
            guard let answer = try response.next() else { return }
            guard answer.response.status.code == 101 else { return connection.close() }
        } catch {
            return connection.close()
        }
        stage = .open
        send(first)
        connection.receive(rest: response.takeRest())
    }

    private func take(_ bytes: inout MutableRawSpan, _ connection: Connection) {
        var position = 0
        while let event = webSocket.next(&bytes, &position, mask: UInt32.random(in: 1...UInt32.max)) {
            switch event {
            case .message(let payload, _): payload.withUnsafeBytes(in: bytes) { tell(RawSpan(_unsafeBytes: $0)) }
            case .ping(let pong): connection.send(pong)
            case .pong: break
            case .ended(let code, let reply, _):
                closeCode = code.rawValue
                if let reply { connection.sendLast(reply) }
                connection.closeWhenSent()
            }
        }
    }

    private func tell(_ payload: RawSpan) {
        switch LineClient.type(of: payload) {
        case "position": heard(self, .position, payload)
        case "joined": heard(self, .joined, payload)
        case "admitted": heard(self, .admitted, payload)
        case "ended": heard(self, .ended, payload)
        default: break
        }
    }

    /// A frame begins with its type: nothing else has to be read to tell what it is.
    private static func type(of payload: RawSpan) -> String {
        payload.withUnsafeBytes { String(decoding: $0.dropFirst(#"{"type":""#.utf8.count).prefix { $0 != 0x22 }, as: UTF8.self) }
    }

    public func connectionTimedOut(_ connection: Connection) { connection.close() }
    public func connectionClosed(_ connection: Connection) { ended() }
}
