import EventLoop
import Locks

/// How much of the processor time that it could have this process has used lately.
final class LoadMeter: Sendable {
    private let threads: Int
    private let last = Lock((at: EventLoop.monotonicNow(), used: EventLoop.processTime(), share: 0.0))

    /// - Parameter loops: threads that serve connections.
    init(loops: Int) { threads = max(1, loops) }

    /// Since it was last asked, at least half a second ago: 0 to 1.
    var share: Double {
        let (at, used) = (EventLoop.monotonicNow(), EventLoop.processTime())
        return last.withLock { last in
            if at - last.at > 500_000_000 {
                last = (at, used, min(1, Double(used - last.used) / Double(at - last.at) / Double(threads)))
            }
            return last.share
        }
    }
}
