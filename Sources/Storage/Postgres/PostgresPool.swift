import DequeModule
import EventLoop
import Locks
import QueueService

/// Connections to one server, few and kept. Confined to its loop.
///
/// A request takes an idle connection, or waits for one. A connection that fails is replaced; where none can be made,
/// those who wait are told at once, and the next attempt comes after a pause that grows.
final class PostgresPool {
    private let loop: EventLoop
    private let address: PostgresAddress
    private let settings: PostgresSettings
    private var idle: [PostgresConnection] = []
    private var busy = 0
    private var connecting = 0
    private var waiting: Deque<Waiter> = []
    private var nextSerial = 0
    private var failures = 0
    /// Not before this moment is another connection tried, and why.
    private var pause: (until: UInt64, error: PostgresError)?
    private var isClosed = false
    /// For those on other threads who ask.
    private let load: PoolLoad

    private struct Waiter {
        let serial: Int
        let since: UInt64
        let request: PostgresConnection.Request
        let timer: TimerID
    }

    init(loop: EventLoop, address: PostgresAddress, settings: PostgresSettings, load: PoolLoad) {
        self.loop = loop
        self.load = load
        self.address = address
        self.settings = settings
    }

    private var total: Int { idle.count + busy + connecting }

    /// Carries out statements in one transaction. Ends in exactly one call of `completed`.
    func run(_ calls: [PostgresCall], seconds: Int, completed: @escaping (Result<[PostgresResult], PostgresError>) -> Void) {
        guard !isClosed else { return completed(.failure(.lost("closed", isInDoubt: false))) }
        let request = PostgresConnection.Request(calls: calls, nanoseconds: UInt64(seconds) * 1_000_000_000, completed: completed)
        if let connection = idle.popLast() { return start(request, on: connection) }
        if total == 0, let pause, EventLoop.monotonicNow() < pause.until { return completed(.failure(pause.error)) }
        guard waiting.count < settings.maximumWaiting else {
            return completed(.failure(.lost("too many requests wait for a connection", isInDoubt: false)))
        }
        wait(request)
        if connecting < waiting.count { connectOneMore() }
    }

    private func wait(_ request: PostgresConnection.Request) {
        let serial = nextSerial
        nextSerial += 1
        let timer = loop.schedule(after: UInt64(settings.waitSeconds) * 1_000_000_000) { [weak self] in
            guard let self, let index = waiting.firstIndex(where: { $0.serial == serial }) else { return }
            waiting.remove(at: index)
            request.completed(.failure(.lost("no connection was free within its time limit", isInDoubt: false)))
        }
        waiting.append(Waiter(serial: serial, since: loop.now, request: request, timer: timer))
        tellLoad()
    }

    private func tellLoad(waited: UInt64 = 0) {
        load.change { load in
            (load.connections, load.limit, load.busy, load.waiting) = (total, settings.connections, busy, waiting.count)
            load.longestWaitSeconds = max(load.longestWaitSeconds, Double(waited) / 1e9)
        }
    }

    private func start(_ request: PostgresConnection.Request, on connection: PostgresConnection) {
        busy += 1
        tellLoad()
        connection.run(
            .init(calls: request.calls, nanoseconds: request.nanoseconds) { [weak self] result in
                self?.takeBack(connection)
                if case .failure(let error) = result, error.isDeadlock { self?.load.change { $0.deadlocks += 1 } }
                request.completed(result)
            })
    }

    private func takeBack(_ connection: PostgresConnection) {
        busy -= 1
        defer { tellLoad() }
        guard connection.isIdle else {
            if !waiting.isEmpty { connectOneMore() }
            return
        }
        if isClosed { return connection.close() }
        serve(connection)
    }

    /// Gives a free connection to whoever waits longest.
    private func serve(_ connection: PostgresConnection) {
        guard let next = waiting.popFirst() else { return idle.append(connection) }
        loop.cancel(next.timer)
        tellLoad(waited: loop.now - next.since)
        start(next.request, on: connection)
    }

    func close() {
        isClosed = true
        failWaiting(.lost("closed", isInDoubt: false))
        for connection in idle { connection.close() }
        idle = []
    }

    private func failWaiting(_ error: PostgresError) {
        let all = waiting
        waiting = []
        for waiter in all {
            loop.cancel(waiter.timer)
            waiter.request.completed(.failure(error))
        }
    }

    // MARK: Connecting

    private func connectOneMore() {
        guard total < settings.connections, pause.map({ EventLoop.monotonicNow() >= $0.until }) ?? true else { return }
        connecting += 1
        let bound = LoopBound(self, to: loop)
        address.resolve(settings.parameters) { [loop] attempts in
            loop.execute { bound.onLoop.connect(attempts[...]) }
        }
    }

    /// Tries one address after the other.
    private func connect(_ attempts: ArraySlice<[(String, String)]>) {
        guard !isClosed, let parameters = attempts.first else {
            connecting -= 1
            return
        }
        var connection: PostgresConnection?
        connection = PostgresConnection(
            loop: loop, parameters: parameters, nanoseconds: UInt64(settings.waitSeconds) * 1_000_000_000
        ) { [self] error in
            let made = connection!
            connection = nil
            guard let error else { return connected(made) }
            if attempts.count > 1 { connect(attempts.dropFirst()) } else { failed(error) }
        }
    }

    private func connected(_ connection: PostgresConnection) {
        connecting -= 1
        failures = 0
        pause = nil
        guard !isClosed else { return connection.close() }
        connection.ended = { [weak self, weak connection] in self?.idle.removeAll { $0 === connection } }
        serve(connection)
    }

    private func failed(_ error: PostgresError) {
        connecting -= 1
        failures += 1
        defer { tellLoad() }
        // One that is cut off while it is being made says little of the server.
        if failures == 1, !waiting.isEmpty { return connectOneMore() }
        // 0.2, 0.4, 0.8 … 5 seconds, each up to half shorter: instances do not come back in step.
        let limit: UInt64 = min(5_000_000_000, 50_000_000 << UInt64(min(failures, 7)))
        pause = (EventLoop.monotonicNow() + limit / 2 + UInt64.random(in: 0...limit / 2), error)
        if busy == 0, connecting == 0 { failWaiting(error) }
    }
}

/// How a server is spoken to.
public struct PostgresSettings: Sendable {
    /// A replica, or several: what may be a little old is asked there. Nil: nothing is.
    public var readURI: String?
    /// Connections at most, 1 to 100.
    public var connections = 4
    /// Requests that may wait for a connection at once, and for how long. So long an attempt to make one may take, too.
    public var maximumWaiting = 1_000
    public var waitSeconds = 5
    /// What a statement may take on the server; where nobody waits for it, the answer may take three seconds more.
    public var statementSeconds = 30
    /// What a commit, or a look at something, may take. Whoever asks waits no longer for it.
    public var answerSeconds = 8

    public init() {}

    /// Where the address says nothing else.
    var parameters: [(String, String)] {
        [
            ("application_name", "stanchion"), ("client_encoding", "UTF8"),
            // A peer that vanished is noticed also while nothing is asked.
            ("keepalives_idle", "5"), ("keepalives_interval", "2"), ("keepalives_count", "3"),
            (
                "options",
                """
                -c statement_timeout=\(statementSeconds)s -c lock_timeout=\(answerSeconds)s \
                -c plan_cache_mode=force_generic_plan -c enable_seqscan=off -c jit=off -c timezone=UTC
                """
            ),
        ]
    }
}
