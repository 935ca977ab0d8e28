import CLinux

/// Signals as events of a loop: what a handler does runs as ordinary code, not inside an interruption.
///
/// Through a pipe, not a signalfd: that needs the signals blocked in every thread, and libdispatch's main thread waits
/// with none blocked. One a process.
public final class SignalSource: Source {
    private let received: (Int32) -> Void

    public init(loop: EventLoop, signals: [Int32], received: @escaping (Int32) -> Void) throws(SystemError) {
        let number = try checked("pipe", clinux_signal_pipe(signals, Int32(signals.count)))
        self.received = received
        super.init(loop: loop, number: number)
        try loop.add(self, for: .readable)
    }

    /// It serves everybody, and does not wait.
    override var account: UInt64? { nil }

    override func ready(_ readiness: Readiness) {
        while case let signal = clinux_next_signal(number), signal != 0 { received(signal) }
    }
}
