import EventLoop
import Locks
import QueueService
import Telemetry

/// What a store's connections are asked for, for other threads to read.
final class PoolLoad: Sendable {
    private let value = Lock((load: StoreLoad(), use: Utilization()))

    func change(_ body: (inout StoreLoad) -> Void) {
        let now = EventLoop.monotonicNow()
        value.withLock { value in
            body(&value.load)
            value.use.change(to: value.load.busy, at: now)
        }
    }

    /// The present load, and what was longest and most since the last call.
    func take() -> StoreLoad {
        let now = EventLoop.monotonicNow()
        return value.withLock { value in
            value.load.peakBusy = value.use.takePeak(at: now)
            defer { value.load.longestWaitSeconds = 0 }
            return value.load
        }
    }
}
