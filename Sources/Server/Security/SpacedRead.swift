import Locks

/// Reads something from the store for whoever needs it anew: one read for all who ask at once, and no two reads closer
/// together than `spacing`. It reads only when asked.
final class SpacedRead: Sendable {
    private struct State {
        /// Waits for its moment; whoever asks now is answered by it.
        var planned: Task<Bool, Never>?
        var running: Task<Bool, Never>?
        /// When the last read began, and the last one that succeeded.
        var beganAt: ContinuousClock.Instant?
        var succeededAt: ContinuousClock.Instant?
        var hasFailed = false
    }

    private let spacing: Duration
    private let read: @Sendable () async throws -> Void
    private let state = Lock(State())

    init(spacing: Duration, _ read: @escaping @Sendable () async throws -> Void) {
        self.spacing = spacing
        self.read = read
    }

    /// Reads once more, beginning after this call. False: the store could not be read.
    func again() async -> Bool { await planned().value }

    /// The same, waited for no longer than `limit`, and not at all while the store cannot be read.
    func again(within limit: Duration) async {
        let read = planned()
        if !state.withLock({ $0.hasFailed }) { _ = await SpacedRead.value(of: read, within: limit) }
    }

    /// Whether the last read that succeeded began no earlier than `moment`.
    func hasSucceeded(since moment: ContinuousClock.Instant) -> Bool {
        state.withLock { $0.succeededAt.map { $0 >= moment } ?? false }
    }

    /// Makes sure that the last read began no longer than `age` ago.
    ///
    /// While the store cannot be read, or hangs, callers are not kept waiting for it. False: what is known may be older.
    func fresh(within age: Duration) async -> Bool {
        let now = ContinuousClock.now
        let (isFresh, hasFailed) = state.withLock { state in
            (state.succeededAt.map { now - $0 <= age } ?? false, state.hasFailed)
        }
        if isFresh { return true }
        let read = planned()
        return hasFailed ? false : await SpacedRead.value(of: read, within: longestWait)
    }

    /// How long a caller of `fresh` waits at most.
    private let longestWait = Duration.milliseconds(500)

    /// What the read comes to, or false where that takes longer.
    private static func value(of read: Task<Bool, Never>, within limit: Duration) async -> Bool {
        await withCheckedContinuation { continuation in
            let waiting = Lock<CheckedContinuation<Bool, Never>?>(continuation)
            let finish: @Sendable (Bool) -> Void = { value in
                waiting.withLock { waiting in
                    defer { waiting = nil }
                    return waiting
                }?.resume(returning: value)
            }
            let timer = Task {
                try? await Task.sleep(for: limit)
                finish(false)
            }
            Task {
                finish(await read.value)
                timer.cancel()
            }
        }
    }

    private func planned() -> Task<Bool, Never> {
        state.withLock { state in
            if let planned = state.planned { return planned }
            let (before, notBefore) = (state.running, state.beganAt.map { $0 + spacing })
            let task = Task { [self] in
                _ = await before?.value
                if let notBefore { try? await Task.sleep(until: notBefore, clock: .continuous) }
                return await run()
            }
            state.planned = task
            return task
        }
    }

    private func run() async -> Bool {
        let began = ContinuousClock.now
        state.withLock { state in
            state.beganAt = began
            state.running = state.planned
            state.planned = nil
        }
        let succeeded: Bool
        do {
            try await read()
            succeeded = true
        } catch {
            succeeded = false
        }
        state.withLock { state in
            state.hasFailed = !succeeded
            if succeeded { state.succeededAt = began }
        }
        return succeeded
    }
}
