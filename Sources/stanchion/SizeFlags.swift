import ArgumentParser
import HTTPProtocol
import Server

/// The flags of `serve` that say how large what a client sends may be, and how much is kept for one who does not read.
struct SizeFlags: ParsableArguments {
    @Option(help: "Bytes of a request's line and header fields. Default 10240. [STANCHION_HEAD_BYTES]")
    var headBytes: String?

    @Option(help: "Bytes of the content of a request with a key. Default 65536. [STANCHION_BODY_BYTES]")
    var bodyBytes: String?

    @Option(
        help:
            "Bytes of a visitor's message, inflated, and of the content of a request without a key. Default 4096. [STANCHION_MESSAGE_BYTES]"
    )
    var messageBytes: String?

    @Option(
        help:
            "Bytes that wait in order for a visitor who does not read; one more and it is closed with 4002. Default 16384. [STANCHION_OUTBOX_BYTES]"
    )
    var outboxBytes: String?

    @Option(help: "Bytes that the kernel keeps of what a visitor has not taken. Default 16384. [STANCHION_SEND_BUFFER_BYTES]")
    var sendBufferBytes: String?

    @Option(help: "Bytes that the kernel keeps of what has come and has not been read. Default 65536. [STANCHION_REQUEST_BUFFER_BYTES]")
    var requestBufferBytes: String?

    @Option(
        help:
            "Bytes that the kernel keeps of what an HTTP client or a reader of events has not taken. Default 131072. [STANCHION_ANSWER_BUFFER_BYTES]"
    )
    var answerBufferBytes: String?

    @Option(
        help: "Entries of logs that are kept in memory for those who read them. Default 100000. [STANCHION_CACHE_ENTRIES]")
    var cacheEntries: String?

    @Option(
        help: "Seconds for which a queue in which nobody is stays in memory after its last visit. Default 120. [STANCHION_REST_SECONDS]")
    var restSeconds: String?

    @Option(help: "Whether anything is counted: on, or off to measure what that costs. Default on. [STANCHION_METRICS]")
    var metrics: String?

    @Option(help: "Queues that have metrics of their own; all others share theirs. Default 100. [STANCHION_METRICS_QUEUES]")
    var metricsQueues: String?

    @Option(
        help:
            "What the network carries, in Mbit/s; 0: as the fastest interface says. Default 0. [STANCHION_NETWORK_MEGABITS]")
    var networkMegabits: String?

    @Option(
        help:
            "The disk that Postgres is on, in GB, where that is another machine; 0: not known. Default 0. [STANCHION_DATABASE_GIGABYTES]")
    var databaseGigabytes: String?

    func read(_ sources: SettingSources, into settings: inout ServerSettings) throws {
        try bytes(sources, "head-bytes", headBytes, &settings.http.head, least: 1_024)
        settings.http.line = min(settings.http.line, settings.http.head)
        try bytes(sources, "body-bytes", bodyBytes, &settings.http.body, least: 1_024)
        try bytes(sources, "message-bytes", messageBytes, &settings.messageBytes, least: 512)
        try bytes(sources, "outbox-bytes", outboxBytes, &settings.visitorOutboxBytes, least: 1_024)
        try sources.integer("rest-seconds", flag: restSeconds, in: 1...86_400, &settings.restSeconds)
        try sources.integer("cache-entries", flag: cacheEntries, in: 0...100_000_000, &settings.cacheEntries)
        switch sources.text("metrics", flag: metrics) ?? "on" {
        case "on", "true": settings.countsMetrics = true
        case "off", "false": settings.countsMetrics = false
        case let other: throw Failure.setting("metrics is \(other), and must be on or off")
        }
        try sources.integer("metrics-queues", flag: metricsQueues, in: 0...10_000, &settings.metricsQueues)
        try sources.integer("network-megabits", flag: networkMegabits, in: 0...10_000_000, &settings.networkMegabits)
        try sources.integer("database-gigabytes", flag: databaseGigabytes, in: 0...10_000_000, &settings.databaseGigabytes)
        try bytes(sources, "send-buffer-bytes", sendBufferBytes, &settings.visitorSendBufferBytes, least: 4_096)
        try bytes(sources, "request-buffer-bytes", requestBufferBytes, &settings.requestBufferBytes, least: 32_768)
        try bytes(sources, "answer-buffer-bytes", answerBufferBytes, &settings.answerBufferBytes, least: 16_384)
    }

    private func bytes(_ sources: SettingSources, _ name: String, _ flag: String?, _ value: inout Int, least: Int) throws {
        try sources.integer(name, flag: flag, in: least...16_777_216, &value)
    }
}
