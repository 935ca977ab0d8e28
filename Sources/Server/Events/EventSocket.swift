import EventLoop
import QueueService
import Telemetry
import WebSocketProtocol

/// A queue's log over a WebSocket: one event a message.
final class EventSocket: ConnectionHandler {
    private let live: LiveLoop
    private let connection: Connection
    private let reader: EventReader
    private var webSocket: WebSocket
    private var feed: EventFeed?
    private var bytes = TokenBucket()
    private var controls = TokenBucket()
    private var awaitsPong = false
    private var isOver = false

    init(live: LiveLoop, connection: Connection, reader: EventReader, deflate: PermessageDeflate?) {
        self.live = live
        webSocket = WebSocket(deflate: deflate)
        self.connection = connection
        self.reader = reader
    }

    func start() {
        connection.handler = self
        connection.outboxLimit = 4 << 20
        connection.deadline = live.loop.second + live.server.settings.pingSeconds
        connection.resumeReading()
        let feed = EventFeed(live: live, reader: reader, connection: connection) { [self] entry, epoch in
            send { entry.write(queue: reader.queue, epoch: epoch, into: &$0) }
        } failed: { [self] problem in
            send { LiveFrames.error(problem, into: &$0) }
            end(problem.code == "no_such_queue" ? .noSuchQueue : .badMessage)
        }
        self.feed = feed
        feed.start()
    }

    private func send(_ write: (inout [UInt8]) -> Void) {
        live.encoder.text(deflate: webSocket.deflate, write) { _ = connection.send($0) }
    }

    private func end(_ close: LiveClose) {
        guard !isOver else { return }
        isOver = true
        live.server.measurements.closes.closed(close.rawValue)
        feed?.stop()
        connection.deadline = live.loop.second + live.server.settings.closeSeconds
        if let frame = webSocket.close(close.code, close.reason) { connection.sendLast(frame) }
    }

    private func refuseFlood(_ what: String) {
        guard !isOver else { return }
        let problem = live.flooded(what, connection)
        send { LiveFrames.error(problem, into: &$0) }
        end(.rateLimited)
    }

    func drain() { end(.restarting) }

    // MARK: The connection

    func connection(_ connection: Connection, received bytes: inout MutableRawSpan) {
        awaitsPong = false
        if !isOver { connection.deadline = live.loop.second + live.server.settings.pingSeconds }
        let limits = live.server.settings.limits
        guard self.bytes.take(bytes.byteCount, at: live.milliseconds, limits.bytes) else { return refuseFlood("bytes") }
        var position = 0
        while let event = webSocket.next(&bytes, &position) {
            switch event {
            // A reader has nothing to say.
            case .message: end(.badMessage)
            case .ping, .pong:
                guard controls.take(at: live.milliseconds, limits.controls) else { return refuseFlood("pings") }
                if case .ping(let pong) = event { connection.send(pong) }
            case .ended(let code, let reply, let error):
                if !isOver { live.server.measurements.closes.closed(code.rawValue) }
                isOver = true
                feed?.stop()
                connection.end(reply, error)
            }
        }
    }

    func connectionDrained(_ connection: Connection) { feed?.read() }

    func connectionTimedOut(_ connection: Connection) {
        guard !isOver, !awaitsPong else { return connection.close() }
        awaitsPong = true
        connection.deadline = live.loop.second + live.server.settings.pongSeconds
        connection.send(FrameEncoder.frame(.ping, []))
    }

    func connectionClosed(_ connection: Connection) {
        if !isOver { live.server.measurements.closes.closed(CloseCode.abnormal.rawValue) }
        isOver = true
        feed?.stop()
        feed = nil
        live.connectionClosed(connection)
    }
}
