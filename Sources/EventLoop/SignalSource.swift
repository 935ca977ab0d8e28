import CLinux
import Glibc

/// Signals as events of a loop, read from a descriptor: a handler runs as ordinary code, not inside an interruption.
public final class SignalSource: Source {
    private let descriptor: Descriptor
    private let received: (Int32) -> Void

    /// Must be called in the main thread before any other is started: a thread inherits what is blocked.
    public static func block(_ signals: [Int32]) { _ = clinux_block_signals(signals, Int32(signals.count)) }

    public init(loop: EventLoop, signals: [Int32], received: @escaping (Int32) -> Void) throws(SystemError) {
        let number = try checked("signalfd", clinux_signalfd(signals, Int32(signals.count)))
        descriptor = Descriptor(owning: number)
        self.received = received
        super.init(loop: loop, number: number)
        try loop.add(self, for: .readable)
    }

    override func ready(_ readiness: Readiness) {
        while case let signal = clinux_next_signal(number), signal != 0 { received(signal) }
    }
}
