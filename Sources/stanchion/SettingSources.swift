import Configuration
import Foundation
import SystemPackage

/// Where settings come from: a flag, else an environment variable, else a line in the file of `--config`.
struct SettingSources {
    private let environment: ConfigReader
    private let file: ConfigReader?

    /// Every setting that a variable or a line can give, by the name of its flag, and its variable without `STANCHION_`.
    private static let known: [(flag: String, variable: String)] = [
        ("listen", "LISTEN"), ("database", "DATABASE_URL"), ("admin-key", "ADMIN_KEY"), ("loops", "LOOPS"),
        ("allow-origin", "ALLOW_ORIGIN"), ("base-path", "BASE_PATH"), ("frame-ancestors", "FRAME_ANCESTORS"), ("issuer", "ISSUER"),
        ("drain-seconds", "DRAIN_SECONDS"), ("log-format", "LOG_FORMAT"),
        ("hosts", "HOSTS"), ("log-level", "LOG_LEVEL"), ("tls-cert", "TLS_CERT"), ("tls-key", "TLS_KEY"), ("compression", "COMPRESSION"),
        ("max-connections", "MAX_CONNECTIONS"), ("connections-per-address", "CONNECTIONS_PER_ADDRESS"), ("handshakes", "HANDSHAKES"),
        ("handshakes-per-address", "HANDSHAKES_PER_ADDRESS"), ("joins-per-address", "JOINS_PER_ADDRESS"),
        ("requests-per-address", "REQUESTS_PER_ADDRESS"), ("joins-per-queue", "JOINS_PER_QUEUE"), ("message-rate", "MESSAGE_RATE"),
        ("byte-rate", "BYTE_RATE"), ("ping-rate", "PING_RATE"),
        ("error-rate", "ERROR_RATE"), ("limit-loopback", "LIMIT_LOOPBACK"), ("trusted-proxies", "TRUSTED_PROXIES"),
        ("proxy-protocol", "PROXY_PROTOCOL"), ("client-address-header", "CLIENT_ADDRESS_HEADER"), ("request-seconds", "REQUEST_SECONDS"),
        ("keep-alive-seconds", "KEEP_ALIVE_SECONDS"), ("stall-seconds", "STALL_SECONDS"),
        ("handshake-seconds", "HANDSHAKE_SECONDS"), ("tls-ticket-seconds", "TLS_TICKET_SECONDS"), ("tls-handshakes", "TLS_HANDSHAKES"),
        ("tls-handshakes-per-address", "TLS_HANDSHAKES_PER_ADDRESS"),
        ("first-frame-seconds", "FIRST_FRAME_SECONDS"), ("ping-seconds", "PING_SECONDS"),
        ("pong-seconds", "PONG_SECONDS"), ("close-seconds", "CLOSE_SECONDS"), ("update-milliseconds", "UPDATE_MILLISECONDS"),
        ("head-bytes", "HEAD_BYTES"), ("body-bytes", "BODY_BYTES"), ("message-bytes", "MESSAGE_BYTES"), ("outbox-bytes", "OUTBOX_BYTES"),
        ("send-buffer-bytes", "SEND_BUFFER_BYTES"), ("request-buffer-bytes", "REQUEST_BUFFER_BYTES"),
        ("answer-buffer-bytes", "ANSWER_BUFFER_BYTES"),
        ("database-connections", "DATABASE_CONNECTIONS"),
        ("database-waiting", "DATABASE_WAITING"), ("database-wait-seconds", "DATABASE_WAIT_SECONDS"),
        ("statement-seconds", "STATEMENT_SECONDS"), ("database-seconds", "DATABASE_SECONDS"),
        ("lease-seconds", "LEASE_SECONDS"), ("database-read", "DATABASE_READ_URL"),
        ("arrivals-per-second", "ARRIVALS_PER_SECOND"), ("cache-entries", "CACHE_ENTRIES"),
        ("pending-commands", "PENDING_COMMANDS"), ("look-ups", "LOOK_UPS"), ("consumers", "CONSUMERS"),
        ("batch-commands", "BATCH_COMMANDS"),
        ("batch-tickets", "BATCH_TICKETS"), ("batch-events", "BATCH_EVENTS"), ("batch-queues", "BATCH_QUEUES"),
        ("rest-seconds", "REST_SECONDS"), ("metrics-queues", "METRICS_QUEUES"),
        ("metrics", "METRICS"), ("network-megabits", "NETWORK_MEGABITS"), ("database-gigabytes", "DATABASE_GIGABYTES"),
        ("session-days", "SESSION_DAYS"), ("receipt-hours", "RECEIPT_HOURS"), ("announcement-days", "ANNOUNCEMENT_DAYS"),
        ("consumer-days", "CONSUMER_DAYS"), ("deleted-queue-days", "DELETED_QUEUE_DAYS"), ("database-lists", "DATABASE_LISTS"),
        ("reconnect-seconds", "RECONNECT_SECONDS"),
        ("log-days", "LOG_DAYS"), ("trend-days", "TREND_DAYS"), ("slow-milliseconds", "SLOW_MILLISECONDS"), ("redis", "REDIS_URL"),
    ]

    /// A database's address may hold a password.
    private let secret: Set<String> = ["admin-key", "database", "database-read", "redis"]

    init(config path: String?) async throws {
        let variables = ProcessInfo.processInfo.environment
        let names = Set(SettingSources.known.map { "STANCHION_" + $0.variable } + ["STANCHION_CONFIG"])
        let others = variables.filter { $0.key.hasPrefix("STANCHION_") && !names.contains($0.key) }
        if let unknown = others.filter({ !SettingSources.isOrchestrators($0.key, $0.value) }).keys.sorted().first {
            throw Failure.setting("the variable \(unknown) is no setting: `stanchion serve --help` lists them")
        }
        environment = ConfigReader(provider: EnvironmentVariablesProvider())
        guard let path = path ?? variables["STANCHION_CONFIG"] else {
            file = nil
            return
        }
        guard let text = try? String(contentsOfFile: path, encoding: .utf8) else {
            throw Failure.setting("the settings file \(path) cannot be read: check --config")
        }
        try SettingSources.check(text, path)
        do {
            file = ConfigReader(provider: try await FileProvider<YAMLSnapshot>(filePath: FilePath(path)))
        } catch {
            throw Failure.setting("the settings file \(path) is no YAML: one `name: value` a line")
        }
    }

    /// Whether Kubernetes, or a linked container, has set the variable for a service that is called `stanchion` or `stanchion-…`
    /// (Kubernetes, "Accessing the Service").
    private static func isOrchestrators(_ name: String, _ value: String) -> Bool {
        if name.wholeMatch(of: /STANCHION_(\w+_)?SERVICE_(HOST|PORT(_\w+)?)/) != nil { return true }
        if name.wholeMatch(of: /STANCHION_(\w+_)?PORT_[0-9]+_(TCP|UDP|SCTP)(_(ADDR|PORT|PROTO))?/) != nil { return true }
        // A number would be somebody's who takes this for a setting.
        return name.wholeMatch(of: /STANCHION_(\w+_)?PORT/) != nil && value.contains("://")
    }

    /// A name that is none would be passed over in silence.
    private static func check(_ text: String, _ path: String) throws {
        for (number, line) in text.split(separator: "\n", omittingEmptySubsequences: false).enumerated() {
            guard let name = line.prefixMatch(of: /([A-Za-z_][A-Za-z0-9_-]*)\s*:/)?.1 else { continue }
            guard known.contains(where: { $0.flag == name }) else {
                throw Failure.setting("line \(number + 1) of \(path): \(name) is no setting: `stanchion serve --help` lists them")
            }
        }
    }

    func text(_ name: String, flag: String?) -> String? {
        if let flag { return flag }
        let variable = SettingSources.known.first { $0.flag == name }!.variable
        if let value = environment.string(forKey: ConfigKey("STANCHION_" + variable), isSecret: secret.contains(name)) { return value }
        guard let file else { return nil }
        let key = ConfigKey(name)
        return file.string(forKey: key, isSecret: secret.contains(name)) ?? file.int(forKey: key).map(String.init)
            ?? file.bool(forKey: key).map(String.init)
    }

    func integer(_ name: String, flag: String?, in range: ClosedRange<Int>) throws -> Int? {
        guard let text = text(name, flag: flag) else { return nil }
        guard let number = Int(text), range.contains(number) else {
            throw Failure.setting("\(name) is \(text), and must be a whole number from \(range.lowerBound) to \(range.upperBound)")
        }
        return number
    }

    /// Leaves `value`, the default, as it is where nothing was given.
    func integer(_ name: String, flag: String?, in range: ClosedRange<Int>, _ value: inout some FixedWidthInteger) throws {
        if let given = try integer(name, flag: flag, in: range) { value = numericCast(given) }
    }
}
