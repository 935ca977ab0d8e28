import Foundation
import QueueEngine
public import QueueService
import Locks

/// A generator that a seed makes: SplitMix64 (Steele, Lea, Flood 2014).
public struct SeededRandom: RandomNumberGenerator, Sendable {
    private var state: UInt64
    public init(seed: UInt64) { state = seed }

    public mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var z = state
        z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
        return z ^ (z >> 31)
    }

    public mutating func chance(_ percent: Int) -> Bool { Int.random(in: 0..<100, using: &self) < percent }
}

/// The seed of this run: `TEST_SEED`, or a new one, which is printed, so that any run can be repeated.
public enum TestSeed {
    public static let value: UInt64 = {
        if let text = ProcessInfo.processInfo.environment["TEST_SEED"], let seed = UInt64(text) { return seed }
        let seed = UInt64.random(in: 1...UInt64(UInt32.max))
        print("TEST_SEED=\(seed)")
        return seed
    }()
}

/// A `RandomSource` from a seed.
public final class SeededSource: RandomSource {
    private let generator: Lock<SeededRandom>
    public init(seed: UInt64) { generator = Lock(SeededRandom(seed: seed)) }
    public func next() -> UInt64 { generator.withLock { $0.next() } }
}
