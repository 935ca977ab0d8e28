import DequeModule
import EventLoop
import Locks
import QueueService

/// How many lists may be read at once: the other readers of the file are left for look-ups.
///
/// Where lists wait, the turn of each stays empty afterwards for as long as it took, at most a second: however many are asked
/// for, commits have time on the processor.
final class ReadGate: Sendable {
    private struct State {
        var free: Int
        var nextSerial = 0
        var waiting: Deque<(serial: Int, continuation: CheckedContinuation<Bool, Never>)> = []
    }

    private let state: Lock<State>
    private let maximumWaiting: Int
    private let waitSeconds: Int

    init(limit: Int, maximumWaiting: Int, waitSeconds: Int) {
        state = Lock(State(free: limit))
        self.maximumWaiting = maximumWaiting
        self.waitSeconds = waitSeconds
    }

    /// Waits for a turn, and runs `body` in it.
    ///
    /// - Throws: `busy` where too many wait, or the wait takes too long, and what `body` throws.
    func pass<R>(_ body: () async throws(StoreError) -> R) async throws(StoreError) -> R {
        try await enter()
        let began = EventLoop.monotonicNow()
        defer { leave(after: EventLoop.monotonicNow() - began) }
        return try await body()
    }

    private func enter() async throws(StoreError) {
        let isAdmitted = await withCheckedContinuation { continuation in
            let answer: Bool? = state.withLock { state in
                if state.free > 0 {
                    state.free -= 1
                    return true
                }
                guard state.waiting.count < maximumWaiting else { return false }
                let serial = state.nextSerial
                state.nextSerial += 1
                state.waiting.append((serial, continuation))
                expire(serial)
                return nil
            }
            if let answer { continuation.resume(returning: answer) }
        }
        guard isAdmitted else { throw .busy("too many lists are being read") }
    }

    private func leave(after nanoseconds: UInt64) {
        guard state.withLock({ !$0.waiting.isEmpty }) else { return giveTurn() }
        Task {
            try? await Task.sleep(nanoseconds: ListPause.length(after: nanoseconds))
            giveTurn()
        }
    }

    private func giveTurn() {
        let next = state.withLock { state in
            let next = state.waiting.popFirst()
            if next == nil { state.free += 1 }
            return next
        }
        next?.continuation.resume(returning: true)
    }

    private func expire(_ serial: Int) {
        Task { [weak self, waitSeconds] in
            try? await Task.sleep(for: .seconds(waitSeconds))
            self?.refuse(serial)
        }
    }

    private func refuse(_ serial: Int) {
        let waiter = state.withLock { state in
            state.waiting.firstIndex { $0.serial == serial }.map { state.waiting.remove(at: $0) }
        }
        waiter?.continuation.resume(returning: false)
    }
}
