import EventLoop
import Glibc

/// SIGTERM and SIGINT end, SIGHUP reloads. From the moment that this is made, no signal is lost.
struct Signals {
    private let signals: AsyncStream<Int32>

    init() async throws {
        let loop = try EventLoopGroup(count: 1).loops[0]
        let (signals, told) = AsyncStream<Int32>.makeStream()
        self.signals = signals
        await withCheckedContinuation { installed in
            loop.execute {
                var isEnding = false
                // Only memory or the descriptor limit can make this fail, and nothing has been served yet.
                _ = Unmanaged.passRetained(
                    try! SignalSource(loop: loop, signals: [SIGTERM, SIGINT, SIGHUP]) { signal in
                        if signal != SIGHUP, isEnding { _exit(128 + signal) }
                        isEnding = isEnding || signal != SIGHUP
                        told.yield(signal)
                    })
                installed.resume()
            }
        }
    }

    /// Returns at the first signal to end; at a second one the process is gone.
    func untilEnd(reload: () async -> Void) async {
        for await signal in signals {
            guard signal == SIGHUP else { return }
            await reload()
        }
    }
}
