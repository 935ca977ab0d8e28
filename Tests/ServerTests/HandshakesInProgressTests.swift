import TestSupport
import Testing

@testable import Server

@Suite struct HandshakesInProgressTests {
    private final class Fake: SecureHandshake {
        let number: Int
        var isOver = false
        init(_ number: Int) { self.number = number }
    }

    /// Whatever the order in which they end, no more are kept than twice the limit, none that is over is refused, and the oldest is.
    @Test(arguments: 0..<20) func refusesTheOldestAndForgetsThoseThatAreOver(seed: Int) {
        var random = SeededRandom(seed: UInt64(seed))
        let limit = Int.random(in: 1...20, using: &random)
        var handshakes = HandshakesInProgress<Fake>()
        var open: [Fake] = []
        for number in 0..<2_000 {
            if open.isEmpty || Int.random(in: 0..<5, using: &random) < 3 {
                let new = Fake(number)
                let refused = handshakes.begin(new, limit: limit)
                open.append(new)
                #expect(refused?.number == (open.count > limit ? open[0].number : nil))
                guard let refused else { continue }
                refused.isOver = true
                open.removeFirst()
            } else {
                // Mostly young ones: an old one that stays keeps those behind it.
                open.remove(at: Bool.random(using: &random) ? open.count - 1 : Int.random(in: open.indices, using: &random)).isOver = true
            }
            handshakes.end()
            #expect(handshakes.kept <= 2 * limit)
        }
    }
}
