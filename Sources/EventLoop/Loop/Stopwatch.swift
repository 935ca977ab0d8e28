/// Measures what a loop's thread does, one piece after the other.
struct Stopwatch {
    /// Monotonic time at which the piece began.
    private var began: UInt64 = 0
    /// Processor time of the thread when it was read last, and what has been measured since.
    private var processorTime: UInt64 = 0
    private var measured: UInt64 = 0

    /// A piece that seems to take longer may have been interrupted: the thread's processor time, which costs a system call, bounds it.
    private static let longNanoseconds: UInt64 = 1_000_000

    mutating func start() {
        began = EventLoop.monotonicNow()
        (processorTime, measured) = (EventLoop.threadTime(), 0)
    }

    /// Ends a piece and begins the next one. Returns how many nanoseconds it took.
    mutating func lap() -> UInt64 {
        let ended = EventLoop.monotonicNow()
        let passed = ended - began
        began = ended
        guard passed > Stopwatch.longNanoseconds else {
            measured += passed
            return passed
        }
        let processor = EventLoop.threadTime()
        defer { (processorTime, measured) = (processor, 0) }
        return min(passed, processor - min(processor, processorTime + measured))
    }
}
