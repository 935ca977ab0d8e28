import Synchronization

/// What a loop has done since it was made. Written by its thread alone, so that counting costs no more than an addition.
public final class LoopFigures: Sendable {
    /// Time outside of epoll_wait, waits for the processor among it.
    public let busyNanoseconds = Figure()
    /// Bytes from sockets and to them, as what is above the sockets sees them: of TLS what is within.
    public let bytesReceived = Figure()
    public let bytesSent = Figure()
    private let longest = Atomic<UInt64>(0)

    /// The longest turn since this was last asked, in nanoseconds: what each connection may have waited for the others.
    public func takeLongestTurn() -> UInt64 { longest.exchange(0, ordering: .relaxed) }

    func note(turn: UInt64) {
        if turn > longest.load(ordering: .relaxed) { longest.store(turn, ordering: .relaxed) }
        busyNanoseconds.add(turn)
    }

    public final class Figure: Sendable {
        private let value = Atomic<UInt64>(0)
        public var now: UInt64 { value.load(ordering: .relaxed) }
        /// To be called on the loop.
        func add(_ more: UInt64) { value.store(value.load(ordering: .relaxed) &+ more, ordering: .relaxed) }
        func add(_ more: Int) { add(UInt64(more)) }
    }
}
