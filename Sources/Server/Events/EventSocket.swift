import EventLoop
import QueueService
import Telemetry
import WebSocketProtocol

/// A queue's log over a WebSocket: one event a message.
final class EventSocket: ConnectionHandler, EventSink {
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
        connection.deadline = live.loop.second + live.server.settings.pingSeconds
        connection.resumeReading()
        let feed = EventFeed(live: live, reader: reader, connection: connection, sink: self)
        self.feed = feed
        feed.start()
    }

    func deliver(_ entry: LogEntry, epoch: UInt64) { send { entry.write(queue: reader.queue, epoch: epoch, into: &$0) } }

    func end(_ problem: Problem) {
        send { LiveFrames.error(problem, into: &$0) }
        switch problem.code {
        case "no_such_queue": close(.noSuchQueue)
        case "unauthorized": close(.unauthorized)
        case "slow_consumer": close(.slowConsumer)
        default: close(.badMessage)
        }
    }

    private func send(_ write: (inout [UInt8]) -> Void) {
        live.encoder.text(deflate: webSocket.deflate, write) { _ = connection.send($0) }
    }

    private func close(_ close: LiveClose) {
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
        close(.rateLimited)
    }

    func drain() { close(.restarting) }

    // MARK: The connection

    func connection(_ connection: Connection, received bytes: inout MutableRawSpan) {
        awaitsPong = false
        // Whoever talks and does not read is not alive for it.
        if !isOver, connection.unsentBytes == 0 { connection.deadline = live.loop.second + live.server.settings.pingSeconds }
        let limits = live.server.settings.limits
        guard self.bytes.take(connection.receivedBytes, at: live.milliseconds, limits.bytes) else { return refuseFlood("bytes") }
        var position = 0
        while let event = webSocket.next(&bytes, &position) {
            switch event {
            // A reader has nothing to say.
            case .message: close(.badMessage)
            case .ping, .pong:
                guard controls.take(at: live.milliseconds, limits.controls) else { return refuseFlood("pings") }
                if case .ping(let pong) = event, feed?.hasRoom == true { connection.send(pong) }
            case .ended(let code, let reply, let error):
                if !isOver { live.server.measurements.closes.closed(code.rawValue) }
                isOver = true
                feed?.stop()
                connection.end(reply, error)
            }
        }
    }

    func connectionDrained(_ connection: Connection) { feed?.drained() }

    func connectionTimedOut(_ connection: Connection) {
        guard !isOver, feed != nil else { return connection.close() }
        // A ping would wait behind what is not read; what is read says as much as a pong.
        guard connection.unsentBytes == 0 else {
            connection.deadline = live.loop.second + live.server.settings.pingSeconds
            guard connection.isTooSlow(over: live.server.settings.stallSeconds) else { return }
            live.noteSlowReader()
            return end(.readsTooSlowly)
        }
        guard !awaitsPong else { return connection.close() }
        awaitsPong = true
        connection.deadline = live.loop.second + live.server.settings.pongSeconds
        connection.send(FrameEncoder.frame(.ping, []))
    }

    func connectionGivenUp(_ connection: Connection) { if !isOver { live.noteSlowReader() } }

    func connectionClosed(_ connection: Connection) {
        if !isOver { live.server.measurements.closes.closed(CloseCode.abnormal.rawValue) }
        isOver = true
        feed?.stop()
        feed = nil
        live.connectionClosed(connection)
    }
}
