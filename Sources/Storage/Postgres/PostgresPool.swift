import EventLoop
import Locks
import QueueService

/// Connections to one server, few and kept. Confined to its loop.
///
/// A request takes an idle connection as far as its lane admits, or waits for one. A lost connection is replaced while
/// requests wait: they are failed only once the server could not be reached for `reconnectSeconds`.
///
/// Where lists wait, each is followed by a pause as long as it took, at most a second, in which no other begins: however many are
/// asked for, the server has time for everything else.
final class PostgresPool {
    private let loop: EventLoop
    private let address: PostgresAddress
    private let settings: PostgresSettings
    private let limits: LaneLimits
    private var idle: [PostgresConnection] = []
    /// Requests that run, by lane.
    private var running = [Int](repeating: 0, count: PostgresLane.allCases.count)
    private var connecting = 0
    /// Pauses under way, during which no list begins.
    private var pauses = 0
    private var waiting = WaitingRequests()
    /// Since when no attempt to connect has succeeded; nil: the last one did.
    private var unreachable: Unreachable?
    private var isClosed = false
    /// For those on other threads who ask.
    private let load: PoolLoad

    private struct Unreachable {
        let since: UInt64
        var error: PostgresError
        var attempts = 0
        /// Not before this moment is another connection tried.
        var nextAttempt: UInt64 = 0
        var retry: TimerID?
    }

    init(loop: EventLoop, address: PostgresAddress, settings: PostgresSettings, load: PoolLoad) {
        self.loop = loop
        self.load = load
        self.address = address
        self.settings = settings
        limits = LaneLimits(settings)
    }

    private var busy: Int { running.reduce(0, +) }
    private var total: Int { idle.count + busy + connecting }

    /// Carries out statements in one transaction. Ends in exactly one call of `completed`.
    func run(
        _ calls: [PostgresCall], seconds: Int, lane: PostgresLane, completed: @escaping (Result<[PostgresResult], PostgresError>) -> Void
    ) {
        guard !isClosed else { return completed(.failure(.lost("closed", isInDoubt: false))) }
        let request = PostgresConnection.Request(calls: calls, nanoseconds: UInt64(seconds) * 1_000_000_000, completed: completed)
        if admits(lane), let connection = idle.popLast() { return start(request, lane, on: connection) }
        if let unreachable, isGivenUp, EventLoop.monotonicNow() < unreachable.nextAttempt {
            return completed(.failure(unreachable.error))
        }
        guard waiting.count(in: lane) < settings.maximumWaiting else {
            return completed(.failure(.busy("too many requests wait for a connection")))
        }
        wait(request, lane)
        connectAsNeeded()
    }

    private func wait(_ request: PostgresConnection.Request, _ lane: PostgresLane) {
        waiting.append(request, lane, at: loop.now) { serial in
            loop.schedule(after: UInt64(settings.waitSeconds) * 1_000_000_000) { [weak self] in self?.expire(serial, lane) }
        }
        tellLoad()
    }

    private func expire(_ serial: Int, _ lane: PostgresLane) {
        guard let request = waiting.remove(serial, lane) else { return }
        tellLoad()
        guard idle.isEmpty, busy == 0 else { return request.completed(.failure(.busy("no connection was free within its time limit"))) }
        request.completed(.failure(unreachable?.error ?? .lost("no connection could be made within its time limit", isInDoubt: false)))
    }

    private func tellLoad(waited: UInt64 = 0) {
        load.change { load in
            (load.connections, load.limit, load.busy, load.waiting) = (total, settings.connections, busy, waiting.count)
            load.longestWaitSeconds = max(load.longestWaitSeconds, Double(waited) / 1e9)
        }
    }

    private func admits(_ lane: PostgresLane) -> Bool {
        (lane != .lists || pauses == 0) && limits.admits(lane, running: running)
    }

    private func start(_ request: PostgresConnection.Request, _ lane: PostgresLane, on connection: PostgresConnection) {
        running[lane.rawValue] += 1
        tellLoad()
        let began = EventLoop.monotonicNow()
        connection.run(
            .init(calls: request.calls, nanoseconds: request.nanoseconds) { [weak self] result in
                if lane == .lists { self?.pauseLists(for: EventLoop.monotonicNow() - began) }
                self?.takeBack(connection, from: lane)
                if case .failure(let error) = result, error.isDeadlock { self?.load.change { $0.deadlocks += 1 } }
                request.completed(result)
            })
    }

    private func pauseLists(for nanoseconds: UInt64) {
        guard waiting.count(in: .lists) > 0 else { return }
        pauses += 1
        loop.schedule(after: ListPause.length(after: nanoseconds)) { [weak self] in
            guard let self else { return }
            pauses -= 1
            serve()
        }
    }

    private func takeBack(_ connection: PostgresConnection, from lane: PostgresLane) {
        running[lane.rawValue] -= 1
        defer { tellLoad() }
        if connection.isIdle {
            if isClosed { return connection.close() }
            idle.append(connection)
        }
        serve()
    }

    /// Gives idle connections to requests that their lanes admit.
    private func serve() {
        while !idle.isEmpty, let next = waiting.popNext(where: { admits($0) }) {
            loop.cancel(next.timer)
            tellLoad(waited: loop.now - next.since)
            start(next.request, next.lane, on: idle.removeLast())
        }
        connectAsNeeded()
    }

    func close() {
        isClosed = true
        if let retry = unreachable?.retry { loop.cancel(retry) }
        failWaiting(.lost("closed", isInDoubt: false))
        for connection in idle { connection.close() }
        idle = []
    }

    private func failWaiting(_ error: PostgresError) {
        for waiter in waiting.removeAll() {
            loop.cancel(waiter.timer)
            waiter.request.completed(.failure(error))
        }
    }

    // MARK: Connecting

    /// Begins to make as many connections as requests wait that their lanes would admit.
    private func connectAsNeeded() {
        guard !isClosed, idle.isEmpty, unreachable.map({ EventLoop.monotonicNow() >= $0.nextAttempt }) ?? true else { return }
        // After a failure one attempt at a time finds out whether the server is back.
        let most = unreachable == nil ? settings.connections : busy + 1
        var planned = running
        for lane in PostgresLane.allCases {
            var left = waiting.count(in: lane)
            while left > 0, planned.reduce(0, +) < most, limits.admits(lane, running: planned) {
                planned[lane.rawValue] += 1
                left -= 1
            }
        }
        while busy + connecting < planned.reduce(0, +), total < settings.connections { connectOneMore() }
    }

    private func connectOneMore() {
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
        if let retry = unreachable?.retry { loop.cancel(retry) }
        unreachable = nil
        guard !isClosed else { return connection.close() }
        connection.ended = { [weak self, weak connection] in self?.idle.removeAll { $0 === connection } }
        idle.append(connection)
        serve()
    }

    /// Whether the server could not be reached for so long that requests are failed at once.
    private var isGivenUp: Bool {
        guard let unreachable, busy == 0, idle.isEmpty else { return false }
        return EventLoop.monotonicNow() - unreachable.since >= UInt64(settings.reconnectSeconds) * 1_000_000_000
    }

    private func failed(_ error: PostgresError) {
        connecting -= 1
        guard !isClosed else { return }
        defer { tellLoad() }
        let now = EventLoop.monotonicNow()
        var state = unreachable ?? Unreachable(since: now, error: error)
        state.error = error
        state.attempts += 1
        // Each up to half shorter: instances do not come back in step.
        let longest = UInt64(PostgresSettings.pauseLength(before: state.attempts) / .nanoseconds(1))
        let pause = longest / 2 + UInt64.random(in: 0...longest / 2)
        state.nextAttempt = now + pause
        if let retry = state.retry { loop.cancel(retry) }
        state.retry = loop.schedule(after: pause) { [weak self] in
            self?.unreachable?.nextAttempt = 0
            self?.connectAsNeeded()
        }
        unreachable = state
        if isGivenUp { failWaiting(error) }
    }
}
