import EventLoop
import Locks

/// A body that is the same for all who ask for it within a second: it is made once for them, and lies in memory once,
/// however many have not read it yet. So strangers who ask without end cost no more than one who asks each second.
final class SharedBody: Sendable {
    private struct State {
        var body: [UInt8] = []
        /// On the monotonic clock; nil: never.
        var madeAt: UInt64?
        /// All who come meanwhile wait for it.
        var making: (task: Task<[UInt8], Never>, since: UInt64)?
    }

    private static let lifetime: UInt64 = 1_000_000_000
    /// A making that takes longer is not waited for by those who come later.
    private static let longestMaking: UInt64 = 5_000_000_000

    private let clock: @Sendable () -> UInt64
    private let make: @Sendable () async -> [UInt8]
    private let state = Lock(State())

    /// - Parameter clock: nanoseconds of a monotonic clock.
    init(clock: @escaping @Sendable () -> UInt64 = EventLoop.monotonicNow, _ make: @escaping @Sendable () async -> [UInt8]) {
        self.clock = clock
        self.make = make
    }

    func get() async -> [UInt8] {
        let now = clock()
        let making = state.withLock { state -> Task<[UInt8], Never>? in
            if let madeAt = state.madeAt, now < madeAt + SharedBody.lifetime { return nil }
            if let making = state.making, now < making.since + SharedBody.longestMaking { return making.task }
            let task = Task { [self] in await makeAnew(at: now) }
            state.making = (task, now)
            return task
        }
        return await making?.value ?? state.withLock { $0.body }
    }

    private func makeAnew(at now: UInt64) async -> [UInt8] {
        let body = await make()
        state.withLock { state in
            // One that was begun later may have been faster.
            guard state.madeAt.map({ $0 < now }) ?? true else { return }
            state.body = body
            state.madeAt = now
            if state.making?.since == now { state.making = nil }
        }
        return body
    }
}
