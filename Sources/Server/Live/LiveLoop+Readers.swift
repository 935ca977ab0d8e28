import EventLoop
import Metrics
import QueueService
import Telemetry

/// The loop's readers of events, of all queues.
extension LiveLoop {
    func add(_ feed: EventFeed) {
        feeds[ObjectIdentifier(feed)] = feed
        guard !watchesKeys else { return }
        watchesKeys = true
        watchKeys()
    }

    func remove(_ feed: EventFeed) { feeds[ObjectIdentifier(feed)] = nil }

    /// Sends readers away whose key is revoked, as long as there are readers.
    private func watchKeys() {
        guard !feeds.isEmpty else { return watchesKeys = false }
        let (ring, keys) = (server.keys, Set(feeds.values.map(\.key)))
        let bound = LoopBound(self, to: loop)
        Task(executorPreference: loop) {
            let revoked = await ring.revoked(of: keys)
            let live = bound.onLoop
            if !revoked.isEmpty { for feed in live.feeds.values where revoked.contains(feed.key) { feed.end(.unauthorized) } }
            live.loop.schedule(after: KeyRing.readersNanoseconds) { [weak live] in live?.watchKeys() }
        }
    }

    /// A reader of events is sent away because it took nothing for too long.
    func noteSlowReader() {
        server.measurements.slowConsumersClosed.increment()
        server.measurements.slow(.reading)
    }
}
