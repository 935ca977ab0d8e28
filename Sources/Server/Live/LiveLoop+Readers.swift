import EventLoop
import Metrics
import QueueService
import Telemetry

/// The loop's readers of events, of all queues.
extension LiveLoop {
    func add(_ feed: EventFeed) {
        feeds[ObjectIdentifier(feed)] = feed
        if !watchesKeys { watchKeys() }
        server.keys.watch.hold(feed.key)
    }

    func remove(_ feed: EventFeed) {
        if feeds.removeValue(forKey: ObjectIdentifier(feed)) != nil { server.keys.watch.release(feed.key) }
    }

    /// Sends readers away whose key is revoked.
    private func watchKeys() {
        watchesKeys = true
        let (loop, bound) = (loop, LoopBound(WeakLiveLoop(self), to: loop))
        server.keys.watch.add { revoked in
            loop.execute {
                guard let live = bound.onLoop.live else { return }
                for feed in live.feeds.values where revoked.contains(feed.key) { feed.end(.unauthorized) }
            }
        }
    }

    /// A reader of events, or a visitor, is sent away because it took too little of what waited for it.
    func noteSlowReader() {
        server.measurements.slowConsumersClosed.increment()
        server.measurements.slow(.reading)
    }
}

/// The key watch must not keep a loop alive.
private final class WeakLiveLoop {
    weak var live: LiveLoop?
    init(_ live: LiveLoop) { self.live = live }
}
