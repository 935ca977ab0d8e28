import EventLoop
import Locks

/// The listeners of all loops, to be closed together.
final class ListenerRegistry: Sendable {
    private struct State {
        var listeners: [(loop: EventLoop, listener: LoopBound<Listener>)] = []
        var isClosed = false
    }

    private let state = Lock(State())

    func add(_ listener: LoopBound<Listener>, on loop: EventLoop) {
        let isLate = state.withLock { state in
            if !state.isClosed { state.listeners.append((loop, listener)) }
            return state.isClosed
        }
        if isLate { listener.onLoop.close() }
    }

    func closeAll() {
        let all = state.withLock { state in
            defer { state = State(listeners: [], isClosed: true) }
            return state.listeners
        }
        for (loop, listener) in all { loop.execute { listener.onLoop.close() } }
    }
}
