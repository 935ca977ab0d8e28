import Glibc

extension EventLoop {
    private static func nanoseconds(_ clock: clockid_t) -> UInt64 {
        var time = timespec()
        clock_gettime(clock, &time)
        return UInt64(time.tv_sec) * 1_000_000_000 + UInt64(time.tv_nsec)
    }

    /// Nanoseconds of CLOCK_MONOTONIC.
    public static func monotonicNow() -> UInt64 { nanoseconds(CLOCK_MONOTONIC) }

    /// Processor time that this process has used, in nanoseconds.
    public static func processTime() -> UInt64 { nanoseconds(CLOCK_PROCESS_CPUTIME_ID) }

    /// Processor time that this thread has used, in nanoseconds: it does not grow while the process stands still.
    public static func threadTime() -> UInt64 { nanoseconds(CLOCK_THREAD_CPUTIME_ID) }

    /// Microseconds since 1970 (CLOCK_REALTIME): may be set back.
    public static func realtimeMicroseconds() -> Int64 {
        var time = timespec()
        clock_gettime(CLOCK_REALTIME, &time)
        return Int64(time.tv_sec) * 1_000_000 + Int64(time.tv_nsec) / 1_000
    }
}
