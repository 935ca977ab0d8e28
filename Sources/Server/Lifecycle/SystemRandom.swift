import Glibc
import Locks
public import QueueService

/// The system's randomness, some at a time: each fetch is a system call, and an identifier takes two words.
public final class SystemRandom: RandomSource {
    private let words = Lock<[UInt64]>([])

    public init() {}

    public func next() -> UInt64 {
        if let word = words.withLock({ $0.popLast() }) { return word }
        // What getentropy(3) gives at once.
        var fresh = [UInt64](repeating: 0, count: 32)
        let failed = fresh.withUnsafeMutableBytes { getentropy($0.baseAddress!, $0.count) }
        precondition(failed == 0, "the system has no randomness")
        let word = fresh.removeLast()
        words.withLock { [fresh] in $0 = fresh }
        return word
    }
}
