import ArgumentParser
import EventLoop
import Fanout
import Logging
import QueueService
import Server
import Storage
import WebSocketProtocol

/// The flags of `serve`. Numbers are taken as text, so that a wrong one is answered like a wrong one in the file.
struct SettingFlags: ParsableArguments {
    @Option(help: "A YAML file with settings, one `name: value` a line. [STANCHION_CONFIG]")
    var config: String?

    @Option(help: "Address and port to serve on. Default 127.0.0.1:8080. [STANCHION_LISTEN]")
    var listen: String?

    @Option(
        help:
            "Where everything is kept: sqlite:PATH or postgresql://USER@HOST:PORT/NAME. Default sqlite:stanchion.db. [STANCHION_DATABASE_URL]"
    )
    var database: String?

    @Option(
        help: """
            Where instances tell each other what happens: redis://HOST:PORT, several with commas between them for a cluster, or \
            redis+sentinel://HOST:PORT,HOST:PORT/NAME. Default none: they ask the database every second. [STANCHION_REDIS_URL]
            """)
    var redis: String?

    @Option(
        help: "A fixed admin key, 32 to 128 printable characters; otherwise one is made and shown at the first start. [STANCHION_ADMIN_KEY]"
    )
    var adminKey: String?

    @Option(help: "Event loops, 1 to 256. Default one for each processor that it may use. [STANCHION_LOOPS]")
    var loops: String?

    @Option(
        help: "Origins whose pages may use the API, with commas between them: https://shop.example. Default none. [STANCHION_ALLOW_ORIGIN]")
    var allowOrigin: String?

    @Option(
        help: """
            The path below which a proxy shows this server: /queue. Requests come with it or without. Default the root. \
            [STANCHION_BASE_PATH]
            """)
    var basePath: String?

    @Option(
        help: """
            Who may show a visitor's page in a frame, with commas between them: none, self, https://shop.example or \
            https://*.shop.example. Default none. [STANCHION_FRAME_ANCESTORS]
            """)
    var frameAncestors: String?

    @Option(
        help: """
            The names by which browsers know this server, with commas between them: queue.example. Pages that reach it by another name may \
            neither connect nor join. Set it where the server has a private address. Default any. [STANCHION_HOSTS]
            """)
    var hosts: String?

    @Option(help: "What admissions name as their issuer. Default stanchion. [STANCHION_ISSUER]")
    var issuer: String?

    @Option(help: "How long SIGTERM may take, 1 to 600 seconds. Default 10. [STANCHION_DRAIN_SECONDS]")
    var drainSeconds: String?

    @Option(
        help: """
            Serve TLS with these certificate chains in PEM, with commas between them; the first is for clients that name no server. \
            [STANCHION_TLS_CERT]
            """)
    var tlsCert: String?

    @Option(help: "Their private keys, in the same order. [STANCHION_TLS_KEY]")
    var tlsKey: String?

    @Option(
        help: """
            How WebSocket messages are compressed: on (nothing is kept for an idle connection), keep (windows are kept: smaller messages, \
            up to 300 kB a connection) or off. Default on. [STANCHION_COMPRESSION]
            """)
    var compression: String?

    @OptionGroup(title: "Postgres") var postgres: DatabaseFlags
    @OptionGroup(title: "Limits") var limits: LimitFlags
    @OptionGroup(title: "Time limits") var times: TimeFlags
    @OptionGroup(title: "Retention") var retention: RetentionFlags
    @OptionGroup(title: "Sizes") var sizes: SizeFlags
    @OptionGroup(title: "Work at once") var work: WorkFlags

    @Option(help: "How the log is written: text or json. Default text. [STANCHION_LOG_FORMAT]")
    var logFormat: String?

    @Option(help: "The least that is logged: debug, info, notice, warning, error. Default info. [STANCHION_LOG_LEVEL]")
    var logLevel: String?

    func read() async throws -> Settings {
        let sources = try await SettingSources(config: config)
        var settings = Settings()
        if let text = sources.text("listen", flag: listen) {
            guard let address = SocketAddress(text) else {
                throw Failure.setting("listen is \(text), and must be an address and a port like 127.0.0.1:8080 or [::1]:8080")
            }
            settings.server.listen = address
        }
        if let text = sources.text("database", flag: database) { settings.database = try SettingFlags.address(text) }
        if let text = sources.text("redis", flag: redis) {
            do throws(RedisAddress.Malformed) { settings.server.redis = try RedisAddress(text) } catch {
                throw Failure.setting("redis is no address of one: \(error.reason)")
            }
            guard case .postgres = settings.database else {
                throw Failure.setting(
                    "redis is set, and the database is a file, which one instance serves alone: take redis away, or set a Postgres")
            }
        }
        if let key = sources.text("admin-key", flag: adminKey) {
            guard (32...128).contains(key.utf8.count), key.utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7F }) else {
                throw Failure.setting("admin-key must be 32 to 128 printable characters without spaces")
            }
            settings.server.adminKey = key
        }
        settings.server.loops = try sources.integer("loops", flag: loops, in: 1...256)
        if let text = sources.text("allow-origin", flag: allowOrigin) {
            do throws(Origin.Unusable) { settings.server.allowedOrigins = try AllowedOrigins(listed: text) } catch {
                throw Failure.setting("allow-origin names \(error.entry), which \(error.reason)")
            }
        }
        if let text = sources.text("base-path", flag: basePath) {
            let path = text.hasSuffix("/") ? String(text.dropLast()) : text
            guard path.isEmpty || path.wholeMatch(of: /(\/[A-Za-z0-9_~-][A-Za-z0-9._~-]*)+/) != nil else {
                throw Failure.setting("base-path is \(text), and must be a path like /queue, of letters, digits, dots and dashes")
            }
            // A proxy that takes the path away would have the rest taken for it.
            if let first = path.split(separator: "/").first, SettingFlags.ownPaths.contains(String(first)) {
                throw Failure.setting(
                    "base-path is \(text), and must not begin like one of the server's own paths: \(SettingFlags.ownPaths.joined(separator: ", "))"
                )
            }
            settings.server.basePath = path
        }
        if let text = sources.text("frame-ancestors", flag: frameAncestors) {
            settings.server.frameAncestors = try SettingFlags.frameAncestors(text)
        }
        if let text = sources.text("hosts", flag: hosts) {
            let names = text.split(separator: ",").map(String.init)
            if let wrong = names.first(where: { !SettingFlags.isHost($0) }) {
                throw Failure.setting("hosts names \(wrong), and must have names or addresses without ports, like queue.example")
            }
            settings.server.hosts = Set(names)
        }
        settings.server.issuer = sources.text("issuer", flag: issuer) ?? settings.server.issuer
        try sources.integer("drain-seconds", flag: drainSeconds, in: 1...600, &settings.server.drainSeconds)
        settings.server.tls = try TLSContext.Files.pairs(
            certificates: sources.text("tls-cert", flag: tlsCert), keys: sources.text("tls-key", flag: tlsKey))
        switch sources.text("compression", flag: compression) ?? "on" {
        case "on": break
        case "keep": settings.server.deflate?.keepsContext = true
        case "off": settings.server.deflate = nil
        case let other: throw Failure.setting("compression is \(other), and must be on, keep or off")
        }
        try postgres.read(sources, into: &settings.postgres)
        try sources.integer("lease-seconds", flag: postgres.leaseSeconds, in: 3...300, &settings.server.leaseSeconds)
        try limits.read(sources, into: &settings.server.limits)
        try times.read(sources, into: &settings.server)
        try retention.read(sources, into: &settings.server)
        try sizes.read(sources, into: &settings.server)
        try work.read(sources, into: &settings.server.work)
        let format = sources.text("log-format", flag: logFormat) ?? "text"
        guard let known = LogFormat(rawValue: format) else { throw Failure.setting("log-format is \(format), and must be text or json") }
        settings.logFormat = known
        let level = sources.text("log-level", flag: logLevel) ?? "info"
        guard let known = Logger.Level(rawValue: level) else {
            throw Failure.setting(
                "log-level is \(level), and must be one of \(Logger.Level.allCases.map(\.rawValue).joined(separator: ", "))")
        }
        settings.logLevel = known
        return settings
    }

    private static let ownPaths = ["assets", "console", "health", "metrics", "q", "ready", "v1"]

    /// A name, or an address of IPv6 in brackets.
    private static func isHost(_ text: String) -> Bool {
        if text.hasPrefix("[") { return SocketAddress(text + ":0") != nil }
        return text.wholeMatch(of: /[A-Za-z0-9_-][A-Za-z0-9._-]*/) != nil
    }

    /// As Content-Security-Policy has it (CSP level 3, §6.4.2).
    private static func frameAncestors(_ text: String) throws -> String {
        let names = text.split(separator: ",").map { $0.filter { $0 != " " } }
        if names == ["none"] { return "'none'" }
        return try names.map { name in
            if name == "self" { return "'self'" }
            guard name.wholeMatch(of: /https?:\/\/(\*\.)?[A-Za-z0-9.\[\]-]+(:[0-9]+)?/) != nil else {
                throw Failure.setting(
                    "frame-ancestors names \(name), and must name none, self, or pages' origins like https://shop.example")
            }
            return name.lowercased()
        }.joined(separator: " ")
    }

    static func address(_ text: String) throws -> DatabaseAddress {
        guard let address = DatabaseAddress(text) else {
            throw Failure.setting("database must be sqlite:PATH or postgresql://USER@HOST:PORT/NAME")
        }
        return address
    }
}

struct Settings {
    var server = ServerSettings()
    var database = DatabaseAddress.sqlite(path: "stanchion.db")
    var postgres = PostgresSettings()
    var logFormat = LogFormat.text
    var logLevel = Logger.Level.info

    func makeLog() -> Logger {
        let format = logFormat
        LoggingSystem.bootstrap { label in LineLogHandler(format: format, label: label) }
        var log = Logger(label: "stanchion")
        log.logLevel = logLevel
        return log
    }
}

extension DatabaseAddress {
    /// Opens it, or ends the program with the reason.
    func openOrFail(exclusively: Bool, on loop: EventLoop, _ settings: PostgresSettings = .init()) async throws -> any QueueStore {
        do throws(StoreOpenError) { return try await open(exclusively: exclusively, on: loop, settings) } catch { throw Failure(error) }
    }
}

extension Failure {
    init(_ error: StoreOpenError) {
        if case .malformed = error { self = .setting(error.description) } else { self = .unavailable(error.description) }
    }
}
