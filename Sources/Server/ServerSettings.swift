public import EventLoop
public import Fanout
public import HTTPProtocol
import QueueEngine
public import QueueService
public import WebSocketProtocol

/// What a server can be told. Every limit is here, with a default that is safe.
public struct ServerSettings: Sendable {
    public var listen = SocketAddress("127.0.0.1:8080")!
    /// Event loops; nil: one for each processor that the process may use.
    public var loops: Int?
    /// A key that is an admin's from the start, beside those in the store.
    public var adminKey: String?
    /// Origins, beside the server's own, whose pages may use the API and connect.
    public var allowedOrigins = AllowedOrigins()
    /// Names, without ports, by which browsers may know this server; empty: any.
    public var hosts: Set<String> = []
    /// The path below which a proxy shows this server, without the `/` that would end it; empty: the root.
    public var basePath = ""
    /// Who may show a visitor's page in a frame, as Content-Security-Policy's frame-ancestors has it.
    public var frameAncestors = "'none'"
    /// `iss` of admissions.
    public var issuer = "stanchion"
    /// Where several instances can serve a store, the others take one for dead that has said nothing for this long, in
    /// seconds.
    public var leaseSeconds = 10
    /// How long entries of logs are kept, in days; 0: for ever.
    public var logDays = 0
    /// How long sessions are kept after they have ended, in days; 0: for ever.
    public var sessionDays = 30
    /// How long a write with an `Idempotency-Key` is remembered, in hours; 0: for ever.
    public var receiptHours = 24
    /// How long announcements are kept after they have expired, in days; 0: for ever.
    public var announcementDays = 30
    /// How long what a reader with a name has confirmed is kept after the last time, in days; 0: for ever.
    public var consumerDays = 90
    /// How long a deleted queue is kept, with its log, sessions and announcements, in days; 0: for ever.
    public var deletedQueueDays = 30
    /// How long a queue in which nobody is stays in memory after its last visit, in seconds.
    public var restSeconds = 120
    /// How much the service takes on at once.
    public var work = WorkLimits()
    /// Entries of logs that are kept in memory for those who read them.
    public var cacheEntries = 100_000
    /// What takes longer than this is told in the log, in milliseconds; 0: nothing is.
    public var slowMilliseconds = 1_000
    /// How long what instances did is kept, by the hour, in days.
    public var trendDays = 60
    /// What the network carries, in Mbit/s; 0: as the fastest interface says, and not known where none does.
    public var networkMegabits = 0
    /// The disk that Postgres is on, in GB; 0: not known where it is on another machine.
    public var databaseGigabytes = 0
    /// Whether anything is counted: without it metrics are what can be read off, and key figures have no data.
    public var countsMetrics = true
    /// Queues that have metrics of their own; all others share theirs.
    public var metricsQueues = 100
    /// What instances tell each other through; nil: the store alone.
    public var redis: RedisAddress?
    /// How long a drain may take, in seconds.
    public var drainSeconds = 10

    /// Certificates with their keys; nil: plain HTTP.
    public var tls: [TLSContext.Files]?

    public var limits = LimitSettings()
    /// Limits on a request; without a key its content may have `messageBytes`.
    public var http = HTTPLimits()
    /// A whole request must come within this, from its first byte, in seconds.
    public var requestSeconds: UInt32 = 15
    /// How long an idle HTTP connection is kept, in seconds.
    public var keepAliveSeconds: UInt32 = 75

    /// Bytes that the kernel keeps of what has come over a connection and has not been read.
    public var requestBufferBytes = 65_536
    /// Bytes that the kernel keeps of what an HTTP client or a reader of events has not taken.
    public var answerBufferBytes = 131_072
    /// A client or a reader of events that takes less than 256 bytes a second, over so many seconds, of what waits for it is sent away,
    /// and so is a visitor that takes less of what waits for it in the kernel.
    public var stallSeconds: UInt32 = 55

    /// The first frame of a visitor must come within this, in seconds.
    public var firstFrameSeconds: UInt32 = 5
    /// A key makes TLS session tickets for so long, in seconds, and reads them for as long again.
    public var ticketSeconds: UInt32 = 12 * 3_600
    /// A quiet peer is asked for a sign of life after this, in seconds.
    public var pingSeconds: UInt32 = 30
    /// And is taken for dead when none comes within this, in seconds.
    public var pongSeconds: UInt32 = 15
    /// A closing handshake may take this long, in seconds.
    public var closeSeconds: UInt32 = 5
    /// Between two comments on a quiet event stream, in seconds.
    public var keepAliveCommentSeconds: UInt32 = 15
    /// How WebSocket messages are compressed; nil: not at all.
    public var deflate: DeflatePolicy? = DeflatePolicy()
    /// Bytes of a visitor's message, and of the content of a request without a key.
    public var messageBytes = 4_096
    /// Bytes that may wait for a visitor who does not read, positions not counted.
    public var visitorOutboxBytes = 16_384
    /// Bytes that the kernel keeps of what a visitor has not taken; positions among them can no longer be replaced.
    public var visitorSendBufferBytes = 16_384
    /// Between two frames of a visitor who asked for `exact`, in milliseconds.
    public var updateMilliseconds: UInt32 = 1_000
    /// How long a session's token is good for, in seconds.
    public var sessionTokenSeconds = 7 * 86_400

    public init() {}

    /// How long what is over is kept. Marks are kept as long as the trends that they are shown with.
    var retention: RetentionSettings {
        func days(_ count: Int) -> Timestamp.Span? { count > 0 ? .seconds(86_400 * count) : nil }
        var retention = RetentionSettings()
        retention.sessions = days(sessionDays)
        retention.receipts = receiptHours > 0 ? .seconds(3_600 * receiptHours) : nil
        retention.announcements = days(announcementDays)
        retention.consumers = days(consumerDays)
        retention.marks = days(trendDays)
        retention.log = days(logDays)
        retention.deletedQueues = days(deletedQueueDays)
        return retention
    }
}
