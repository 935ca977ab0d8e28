import DequeModule

/// Lets so many catch up at once; the others wait for their turn, first come, first served. Confined to the service's actor.
final class CatchUpGate {
    private var free: Int
    private var waiting = Deque<CheckedContinuation<Void, Never>>()

    init(limit: Int) { free = limit }

    func enter(isolation: isolated (any Actor)? = #isolation) async {
        guard free == 0 else { return free -= 1 }
        await withCheckedContinuation { waiting.append($0) }
    }

    func leave() {
        if let next = waiting.popFirst() { next.resume() } else { free += 1 }
    }
}
