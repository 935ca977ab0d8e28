import EventLoop
import HTTPProtocol
import QueueEngine
import QueueService
import Telemetry

/// A queue's log as server-sent events: `id` is the `seq`, so `Last-Event-ID` is where to go on.
final class EventStream: ConnectionHandler, EventSink {
    private let live: LiveLoop
    private let connection: Connection
    private let reader: EventReader
    /// Whether the client knows chunks (RFC 9112 §7.1): only then do some of them see each event at once.
    private let isChunked: Bool
    private var feed: EventFeed?
    private var bytes = TokenBucket()

    init(live: LiveLoop, connection: Connection, reader: EventReader, isChunked: Bool) {
        self.isChunked = isChunked
        self.live = live
        self.connection = connection
        self.reader = reader
    }

    /// Between two comments, and two looks at what the reader has taken, in seconds.
    private var tick: UInt32 { min(live.server.settings.keepAliveCommentSeconds, live.server.settings.pingSeconds) }

    func start() {
        connection.handler = self
        connection.deadline = live.loop.second + tick
        connection.resumeReading()
        let feed = EventFeed(live: live, reader: reader, connection: connection, sink: self)
        self.feed = feed
        feed.start()
    }

    func deliver(_ entry: LogEntry, epoch: UInt64) {
        send { ServerSentEvent.encode(id: entry.event.seq, into: &$0) { entry.write(queue: reader.queue, epoch: epoch, into: &$0) } }
    }

    func end(_ problem: Problem) {
        send { ServerSentEvent.encode(event: "error", into: &$0) { LiveFrames.error(problem, into: &$0) } }
        finish()
    }

    /// The reader comes back to where it was.
    func drain() { if feed != nil { finish() } }

    private func finish() {
        feed?.stop()
        feed = nil
        if isChunked { connection.send(Chunk.last) }
        connection.closeWhenSent()
    }

    private func send(_ write: (inout [UInt8]) -> Void) {
        var bytes: [UInt8] = []
        if isChunked { Chunk.encode(into: &bytes, content: write) } else { write(&bytes) }
        connection.send(bytes)
    }

    /// Nothing is expected from a reader; what it sends all the same is limited.
    func connection(_ connection: Connection, received bytes: inout MutableRawSpan) {
        guard feed != nil, !self.bytes.take(connection.receivedBytes, at: live.milliseconds, live.server.settings.limits.bytes) else {
            return
        }
        end(live.flooded("bytes", connection))
    }
    func connectionDrained(_ connection: Connection) { feed?.drained() }

    func connectionTimedOut(_ connection: Connection) {
        guard feed != nil else { return connection.close() }
        connection.deadline = live.loop.second + tick
        guard !connection.isTooSlow(over: live.server.settings.stallSeconds) else {
            live.noteSlowReader()
            return end(.readsTooSlowly)
        }
        // Whoever has something to read yet needs no comment.
        if connection.unsentBytes == 0 { send { $0 += ServerSentEvent.keepAlive } }
    }

    func connectionGivenUp(_ connection: Connection) { if feed != nil { live.noteSlowReader() } }

    func connectionClosed(_ connection: Connection) {
        feed?.stop()
        feed = nil
        live.connectionClosed(connection)
    }
}
