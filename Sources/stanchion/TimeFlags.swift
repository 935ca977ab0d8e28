import ArgumentParser
import Server

/// The flags of `serve` that say how long a client is waited for.
struct TimeFlags: ParsableArguments {
    @Option(help: "A whole request must come within this, from its first byte, in seconds. Default 15. [STANCHION_REQUEST_SECONDS]")
    var requestSeconds: String?

    @Option(help: "How long an idle HTTP connection is kept, in seconds. Default 75. [STANCHION_KEEP_ALIVE_SECONDS]")
    var keepAliveSeconds: String?

    @Option(
        help: """
            A client or a reader of events that takes less than 256 bytes a second, over so many seconds, of what waits for it is sent \
            away, and so is a visitor that takes less of what waits for it in the kernel. Default 55. [STANCHION_STALL_SECONDS]
            """)
    var stallSeconds: String?

    @Option(help: "A TLS handshake or a PROXY header must come within this, in seconds. Default 10. [STANCHION_HANDSHAKE_SECONDS]")
    var handshakeSeconds: String?

    @Option(help: "A key makes TLS session tickets for this long, in seconds. Default 43200. [STANCHION_TLS_TICKET_SECONDS]")
    var tlsTicketSeconds: String?

    @Option(help: "A visitor's first frame must come within this, in seconds. Default 5. [STANCHION_FIRST_FRAME_SECONDS]")
    var firstFrameSeconds: String?

    @Option(help: "A quiet visitor is asked for a sign of life after this, in seconds. Default 30. [STANCHION_PING_SECONDS]")
    var pingSeconds: String?

    @Option(help: "And is gone when none comes within this, in seconds. Default 15. [STANCHION_PONG_SECONDS]")
    var pongSeconds: String?

    @Option(help: "A closing handshake may take this long, in seconds. Default 5. [STANCHION_CLOSE_SECONDS]")
    var closeSeconds: String?

    @Option(help: "Between two frames of a visitor who asked for `exact`, in milliseconds. Default 1000. [STANCHION_UPDATE_MILLISECONDS]")
    var updateMilliseconds: String?

    @Option(help: "How long what instances did is kept for trends, by the hour, in days, 30 at least. Default 60. [STANCHION_TREND_DAYS]")
    var trendDays: String?

    @Option(
        help:
            "What takes as long is told in the log with its parts, in milliseconds; 0: nothing is. Default 1000. [STANCHION_SLOW_MILLISECONDS]"
    )
    var slowMilliseconds: String?

    func read(_ sources: SettingSources, into settings: inout ServerSettings) throws {
        try seconds(sources, "request-seconds", requestSeconds, &settings.requestSeconds)
        try seconds(sources, "keep-alive-seconds", keepAliveSeconds, &settings.keepAliveSeconds)
        try seconds(sources, "stall-seconds", stallSeconds, &settings.stallSeconds)
        try seconds(sources, "handshake-seconds", handshakeSeconds, &settings.limits.secureHandshakeSeconds)
        try seconds(sources, "tls-ticket-seconds", tlsTicketSeconds, &settings.ticketSeconds, most: 604_800)
        try seconds(sources, "first-frame-seconds", firstFrameSeconds, &settings.firstFrameSeconds)
        try seconds(sources, "ping-seconds", pingSeconds, &settings.pingSeconds)
        try seconds(sources, "pong-seconds", pongSeconds, &settings.pongSeconds)
        try seconds(sources, "close-seconds", closeSeconds, &settings.closeSeconds)
        try sources.integer("trend-days", flag: trendDays, in: 30...3_650, &settings.trendDays)
        try sources.integer("slow-milliseconds", flag: slowMilliseconds, in: 0...600_000, &settings.slowMilliseconds)
        try sources.integer("update-milliseconds", flag: updateMilliseconds, in: 100...60_000, &settings.updateMilliseconds)
    }

    private func seconds(_ sources: SettingSources, _ name: String, _ flag: String?, _ value: inout UInt32, most: Int = 3_600) throws {
        try sources.integer(name, flag: flag, in: 1...most, &value)
    }
}
