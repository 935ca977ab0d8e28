import DequeModule

/// Lets so many catch up, or be rebuilt, at once; the others wait for their turn, first come, first served. Confined to the
/// service's actor.
final class CatchUpGate {
    private var free: Int
    private var waiting = Deque<CheckedContinuation<Void, Never>>()

    init(limit: Int) { free = limit }

    /// Runs `body` within the limit.
    func pass<R, E: Error>(
        isolation: isolated (any Actor)? = #isolation, _ body: () async throws(E) -> R
    ) async throws(E) -> R {
        await enter()
        defer { leave() }
        return try await body()
    }

    private func enter(isolation: isolated (any Actor)? = #isolation) async {
        guard free == 0 else { return free -= 1 }
        await withCheckedContinuation { waiting.append($0) }
    }

    private func leave() {
        if let next = waiting.popFirst() { next.resume() } else { free += 1 }
    }
}
