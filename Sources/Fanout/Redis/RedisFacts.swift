public import EventLoop

/// What a Redis server says of itself, for whoever looks for what is wrong with it.
public struct RedisFacts: Sendable {
    public struct SlowCommand: Sendable {
        /// When it ended, in seconds since 1970.
        public let at: Int64
        public let seconds: Double
        public let command: String
    }

    /// `INFO`, by name; nil where the user may not ask.
    public let info: [String: String]?
    /// `SLOWLOG GET`, the newest first; nil where the user may not ask.
    public let slow: [SlowCommand]?
    /// What a PING takes there and back, each of five.
    public let pingSeconds: [Double]
    /// `TIME` of the server, in seconds since 1970; nil where the user may not ask.
    public let now: Int64?

    /// Asks the server that a bus at this address would speak to. Takes ten seconds at most.
    public static func examine(_ address: RedisAddress, on loop: EventLoop) async -> Result<RedisFacts, BusRefused> {
        await withCheckedContinuation { continuation in
            loop.execute { RedisExamination(loop: loop, address: address) { continuation.resume(returning: $0) }.start() }
        }
    }
}

/// One look at a server. Confined to its loop; its closures keep it until it is over.
private final class RedisExamination {
    private let loop: EventLoop
    private let address: RedisAddress
    private let completed: (Result<RedisFacts, BusRefused>) -> Void
    private var endpoint: RedisEndpoint?
    private var link: RedisEndpoint.Link?
    private var timer: TimerID?
    private var isOver = false

    init(loop: EventLoop, address: RedisAddress, completed: @escaping (Result<RedisFacts, BusRefused>) -> Void) {
        self.loop = loop
        self.address = address
        self.completed = completed
    }

    func start() {
        timer = loop.schedule(after: 10_000_000_000) { [self] in finish(.failure(BusRefused(reason: "no answer within 10 s"))) }
        endpoint = RedisEndpoint(loop: loop, address: address, turn: 0, pushed: { _ in }) { [self] result in
            switch result {
            case .success(let link):
                self.link = link
                link.speaking.ended = { [self] failure in finish(.failure(BusRefused(reason: failure.reason))) }
                ping(link.speaking, [])
            case .failure(let failure): finish(.failure(BusRefused(reason: failure.reason)))
            }
        }
    }

    private func ping(_ connection: RedisConnection, _ taken: [Double]) {
        guard taken.count < 5 else { return ask(connection, taken) }
        let began = EventLoop.monotonicNow()
        connection.command(["PING"]) { [self] _ in ping(connection, taken + [Double(EventLoop.monotonicNow() - began) / 1e9]) }
    }

    private func ask(_ connection: RedisConnection, _ taken: [Double]) {
        connection.command(["INFO"]) { [self] info in
            connection.command(["SLOWLOG", "GET", "32"]) { [self] slow in
                connection.command(["TIME"]) { [self] time in
                    finish(
                        .success(
                            RedisFacts(
                                info: RedisExamination.info(info), slow: RedisExamination.slow(slow), pingSeconds: taken,
                                now: RedisExamination.seconds(time))))
                }
            }
        }
    }

    private func finish(_ result: Result<RedisFacts, BusRefused>) {
        guard !isOver else { return }
        isOver = true
        if let timer { loop.cancel(timer) }
        endpoint?.cancel()
        endpoint = nil
        link?.speaking.close()
        link?.listening.close()
        link = nil
        completed(result)
    }

    private static func info(_ reply: RedisReply) -> [String: String]? {
        guard let text = reply.text else { return nil }
        let pairs = text.split(whereSeparator: \.isNewline).compactMap { line -> (String, String)? in
            guard !line.hasPrefix("#"), let colon = line.firstIndex(of: ":") else { return nil }
            return (String(line[..<colon]), String(line[line.index(after: colon)...]))
        }
        return Dictionary(pairs) { first, _ in first }
    }

    private static func slow(_ reply: RedisReply) -> [RedisFacts.SlowCommand]? {
        guard case .array(let entries) = reply else { return nil }
        return entries.compactMap { entry in
            guard case .array(let parts) = entry, parts.count >= 4, case .number(let at) = parts[1],
                case .number(let microseconds) = parts[2], case .array(let words) = parts[3]
            else { return nil }
            let command = words.compactMap(\.text).joined(separator: " ")
            return RedisFacts.SlowCommand(at: at, seconds: Double(microseconds) / 1e6, command: String(command.prefix(80)))
        }
    }

    private static func seconds(_ reply: RedisReply) -> Int64? {
        guard case .array(let parts) = reply else { return nil }
        return parts.first?.text.flatMap { Int64($0) }
    }
}
