import CPostgres
import EventLoop

/// One connection to a server, through libpq without blocking. Confined to its loop.
///
/// It carries out one request at a time: some statements in pipeline mode, one implicit transaction, one round trip.
final class PostgresConnection {
    /// Statements, until when they must be answered, and whom to tell.
    struct Request {
        let calls: [PostgresCall]
        let nanoseconds: UInt64
        let completed: (Result<[PostgresResult], PostgresError>) -> Void
    }

    private struct Running {
        let request: Request
        let timer: TimerID
        var results: [PostgresResult] = []
        var error: PostgresError?
        /// Statements whose texts are prepared along with this request, in the order of the answers.
        var expected: [Step]
    }

    private enum Step { case limit(milliseconds: Int), prepare(StaticString), execute }

    private enum State {
        case connecting(TimerID, (PostgresError?) -> Void)
        case idle
        case running(Running)
        case closed
    }

    private let loop: EventLoop
    private let handle: OpaquePointer
    private var watch: DescriptorWatch?
    private var state = State.closed
    private var prepared: Set<UInt> = []
    /// The session's `statement_timeout`; nil: not known here.
    private var statementLimit: Int?
    /// Called once, when an idle connection ends.
    var ended: (() -> Void)?

    /// Begins to connect.
    ///
    /// - Parameters:
    ///   - parameters: libpq's, names of hosts resolved: it would block in resolving them.
    ///   - connected: called once, later, with the error where there is one.
    init(loop: EventLoop, parameters: [(String, String)], nanoseconds: UInt64, connected: @escaping (PostgresError?) -> Void) {
        self.loop = loop
        handle = withCStrings(parameters.map(\.0)) { names in
            withCStrings(parameters.map(\.1)) { values in PQconnectStartParams(names, values, 0)! }
        }
        // Otherwise libpq writes "relation already exists, skipping" and its like to the standard error.
        PQsetNoticeProcessor(handle, { _, _ in }, nil)
        let timer = loop.schedule(after: nanoseconds) { [weak self] in self?.giveUp("no connection within its time limit") }
        state = .connecting(timer, connected)
        guard PQstatus(handle) != CONNECTION_BAD else {
            let error = lastError(isInDoubt: false)
            loop.defer { [weak self] in self?.end(error) }
            return
        }
        watchAnew(for: .writing)
    }

    deinit { close() }

    private var isClosed: Bool { if case .closed = state { true } else { false } }

    var isIdle: Bool { if case .idle = state { true } else { false } }

    /// Ends it. Who waits for an answer is not told.
    func close() {
        switch state {
        case .connecting(let timer, _): loop.cancel(timer)
        case .running(let running): loop.cancel(running.timer)
        case .idle: break
        case .closed: return
        }
        state = .closed
        watch?.cancel()
        PQfinish(handle)
    }

    // MARK: Requests

    func run(_ request: Request) {
        guard case .idle = state else { preconditionFailure("a connection carries out one request at a time") }
        let timer = loop.schedule(after: request.nanoseconds) { [weak self] in self?.giveUp("no answer within its time limit") }
        var running = Running(request: request, timer: timer, expected: [])
        // The server ends a statement when its caller stops waiting: it would go on for nobody.
        let limit = max(1, Int(request.nanoseconds / 1_000_000))
        if limit != statementLimit {
            running.expected.append(.limit(milliseconds: limit))
            guard PQsendQueryParams(handle, "SET statement_timeout = \(limit)", 0, nil, nil, nil, nil, 1) == 1 else { return fail(running) }
        }
        for call in request.calls {
            if prepared.insert(call.sql.identity).inserted {
                running.expected.append(.prepare(call.sql))
                guard PQsendPrepare(handle, call.sql.name, call.sql.text, 0, nil) == 1 else { return fail(running) }
            }
            running.expected.append(.execute)
            guard send(call) else { return fail(running) }
        }
        guard PQpipelineSync(handle) == 1 else { return fail(running) }
        running.expected.reverse()
        state = .running(running)
        flush()
    }

    private func send(_ call: PostgresCall) -> Bool {
        let lengths = call.parameters.map { Int32($0?.count ?? 0) }
        let formats = [Int32](repeating: 1, count: call.parameters.count)
        return withPointers(call.parameters) { values in
            PQsendQueryPrepared(handle, call.sql.name, Int32(call.parameters.count), values, lengths, formats, 1) == 1
        }
    }

    private func fail(_ running: Running) {
        state = .running(running)
        let error = lastError(isInDoubt: false)
        loop.defer { [weak self] in self?.end(error) }
    }

    private func flush() {
        let left = PQflush(handle)
        guard left >= 0 else { return end(lastError(isInDoubt: true)) }
        watch?.wait(for: left == 0 ? .reading : .both)
    }

    // MARK: What the socket says

    private func ready() {
        switch state {
        case .connecting: goOnConnecting()
        case .idle, .running: read()
        case .closed: break
        }
    }

    /// Within `PQconnectPoll` libpq may close its socket and open another one, perhaps with the same number.
    private func goOnConnecting() {
        watch?.cancel()
        watch = nil
        switch PQconnectPoll(handle) {
        case PGRES_POLLING_READING: watchAnew(for: .reading)
        case PGRES_POLLING_WRITING: watchAnew(for: .writing)
        case PGRES_POLLING_OK: connected()
        default: end(lastError(isInDoubt: false))
        }
    }

    private func connected() {
        guard case .connecting(let timer, let tell) = state else { return }
        guard PQsetnonblocking(handle, 1) == 0, PQenterPipelineMode(handle) == 1 else { return end(lastError(isInDoubt: false)) }
        loop.cancel(timer)
        state = .idle
        watchAnew(for: .reading)
        tell(nil)
    }

    private func read() {
        guard PQconsumeInput(handle) == 1 else { return end(lastError(isInDoubt: true)) }
        while case .running = state, PQisBusy(handle) == 0 { takeResult() }
        guard !isClosed else { return }
        if PQstatus(handle) == CONNECTION_BAD { return end(lastError(isInDoubt: true)) }
        flush()
    }

    private func takeResult() {
        guard case .running(var running) = state else { return }
        // Between two statements' answers there is nothing.
        guard let answer = PQgetResult(handle) else { return }
        let status = PQresultStatus(answer)
        guard status != PGRES_PIPELINE_SYNC else {
            PQclear(answer)
            return finish(running)
        }
        let step = running.expected.popLast()
        switch status {
        case PGRES_TUPLES_OK, PGRES_COMMAND_OK:
            if case .limit(let milliseconds) = step { statementLimit = milliseconds }
            if case .execute = step { running.results.append(PostgresResult(owning: answer)) } else { PQclear(answer) }
        default:
            // The transaction takes the setting back, too.
            statementLimit = nil
            if running.error == nil, status != PGRES_PIPELINE_ABORTED { running.error = PostgresError(result: answer) }
            // What was to be prepared behind an error was not.
            if case .prepare(let sql) = step { prepared.remove(sql.identity) }
            PQclear(answer)
        }
        state = .running(running)
    }

    private func finish(_ running: Running) {
        loop.cancel(running.timer)
        state = .idle
        // Where one of several statements failed behind a BEGIN, nobody else can use what is left.
        if PQtransactionStatus(handle) != PQTRANS_IDLE { close() }
        running.request.completed(running.error.map { .failure($0) } ?? .success(running.results))
    }

    // MARK: The end

    private func giveUp(_ why: String) {
        if case .running = state { Cancellation.send(on: handle) }
        end(.lost(why, isInDoubt: true))
    }

    /// Ends with an error, and tells whoever waits for this connection.
    private func end(_ error: PostgresError) {
        let before = state
        close()
        switch before {
        case .connecting(_, let tell): tell(error)
        case .running(let running):
            // The server's own last word is the better reason. Whether it came before or after the commit, it does not say.
            running.request.completed(.failure(running.error.map { .lost($0.description, isInDoubt: true) } ?? error))
        case .idle: ended?()
        case .closed: break
        }
    }

    private func lastError(isInDoubt: Bool) -> PostgresError { .lost(PostgresError.line(PQerrorMessage(handle)), isInDoubt: isInDoubt) }

    private func watchAnew(for interest: DescriptorWatch.Interest) {
        watch?.cancel()
        do throws(SystemError) {
            watch = try DescriptorWatch(loop: loop, descriptor: PQsocket(handle), for: interest) { [weak self] in self?.ready() }
        } catch {
            let error = PostgresError.lost("\(error)", isInDoubt: false)
            loop.defer { [weak self] in self?.end(error) }
        }
    }
}

extension StaticString {
    /// The text's place in the program: each statement is written once.
    fileprivate var identity: UInt { UInt(bitPattern: utf8Start) }
    fileprivate var name: String { String(identity, radix: 36) }
    fileprivate var text: UnsafePointer<CChar> { UnsafeRawPointer(utf8Start).assumingMemoryBound(to: CChar.self) }
}

/// Calls `body` with a C array of C strings, ended by a null.
private func withCStrings<R>(_ strings: [String], _ body: (UnsafePointer<UnsafePointer<CChar>?>) -> R) -> R {
    withPointers(strings.map { Array($0.utf8) + [0] } + [nil], body)
}

/// Calls `body` with a C array of pointers to the bytes of each value, null for none.
private func withPointers<R>(_ values: [[UInt8]?], _ body: (UnsafePointer<UnsafePointer<CChar>?>) -> R) -> R {
    var offsets: [Int?] = []
    var all: [UInt8] = []
    for value in values {
        offsets.append(value.map { _ in all.count })
        if let value { all += value }
    }
    all.append(0)
    return all.withUnsafeBytes { all in
        body(offsets.map { $0.map { all.baseAddress!.assumingMemoryBound(to: CChar.self) + $0 } })
    }
}
