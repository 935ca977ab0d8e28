import Foundation  // For log and exp, which the standard library lacks.
import QueueEngine

/// The one source of chance in a simulation: SplitMix64 (Steele, Lea, Flood 2014). The seed decides everything.
struct Dice: RandomNumberGenerator {
    private var state: UInt64

    init(seed: UInt64) { state = seed }

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var z = state
        z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
        return z ^ (z >> 31)
    }

    /// From 0 up to, not including, 1.
    mutating func unit() -> Double { Double(next() >> 11) * 0x1p-53 }

    mutating func chance(_ probability: Double) -> Bool { unit() < probability }

    mutating func int(_ range: ClosedRange<Int>) -> Int { range.lowerBound + Int(next() % UInt64(range.count)) }

    mutating func pick<Element>(_ elements: [Element]) -> Element { elements[int(0...elements.count - 1)] }

    /// An exponentially distributed time with this mean: what passes between independent events.
    mutating func time(mean seconds: Double) -> Timestamp.Span {
        Timestamp.Span(microseconds: Int64(max(1, -seconds * Dice.logarithm(1 - unit()) * 1_000_000)))
    }

    mutating func time(_ range: ClosedRange<Double>) -> Timestamp.Span {
        Timestamp.Span(microseconds: Int64((range.lowerBound + unit() * (range.upperBound - range.lowerBound)) * 1_000_000))
    }

    /// A value from a range of several orders of magnitude, each as likely as the others.
    mutating func logarithmic(_ range: ClosedRange<Double>) -> Double {
        let (low, high) = (Dice.logarithm(range.lowerBound), Dice.logarithm(range.upperBound))
        return Dice.exponential(low + unit() * (high - low))
    }

    /// A weight of a swarm: zero for some, very uneven for the others.
    mutating func weight(on probability: Double = 0.6) -> Double { chance(probability) ? logarithmic(0.02...2) : 0 }

    private static func logarithm(_ x: Double) -> Double { x <= 0 ? -40 : Foundation.log(x) }
    private static func exponential(_ x: Double) -> Double { Foundation.exp(x) }
}
