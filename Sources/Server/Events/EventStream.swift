import EventLoop
import HTTPProtocol
import QueueEngine
import QueueService

/// A queue's log as server-sent events: `id` is the `seq`, so `Last-Event-ID` is where to go on.
final class EventStream: ConnectionHandler {
    private let live: LiveLoop
    private let reader: EventReader
    private var feed: EventFeed?

    init(live: LiveLoop, reader: EventReader) {
        self.live = live
        self.reader = reader
    }

    func start(_ connection: Connection) {
        connection.handler = self
        connection.outboxLimit = 4 << 20
        connection.deadline = live.loop.second + live.server.settings.keepAliveCommentSeconds
        connection.resumeReading()
        let feed = EventFeed(live: live, reader: reader, connection: connection) { entry, epoch in
            var json: [UInt8] = []
            entry.write(queue: self.reader.queue, epoch: epoch, into: &json)
            var bytes: [UInt8] = []
            ServerSentEvent(id: String(entry.event.seq), data: String(decoding: json, as: UTF8.self)).encode(into: &bytes)
            connection.send(bytes)
        } failed: { problem in
            var json: [UInt8] = []
            LiveFrames.error(problem, into: &json)
            var bytes: [UInt8] = []
            ServerSentEvent(event: "error", data: String(decoding: json, as: UTF8.self)).encode(into: &bytes)
            connection.send(bytes)
            connection.closeWhenSent()
        }
        self.feed = feed
        feed.start()
    }

    /// Nothing is expected from a reader.
    func connection(_ connection: Connection, received bytes: inout MutableRawSpan) {}
    func connectionDrained(_ connection: Connection) { feed?.read() }

    func connectionTimedOut(_ connection: Connection) {
        connection.deadline = live.loop.second + live.server.settings.keepAliveCommentSeconds
        if !connection.send(ServerSentEvent.keepAlive) { connection.close() }
    }

    func connectionClosed(_ connection: Connection) {
        feed?.stop()
        feed = nil
        live.connectionClosed(connection)
    }
}
