import QueueEngine
import QueueService
import TestSupport
import Testing

@Suite struct IdentifierTests {
    /// Rows that are made together go to the end of an index one after the other, and a list by id has them in their order.
    @Test func idsMadeTogetherAreInTheirOrder() {
        var random = SeededRandom(seed: 1)
        let moment = Timestamp(seconds: 1_800_000_000.123)
        let ids = (0..<5_000).map { SessionID(at: moment, index: $0, random: random.next()) }
        let ordered = ids.prefix(4_096)
        #expect(zip(ordered, ordered.dropFirst()).allSatisfy { $0 < $1 })
        #expect(Set(ids).count == ids.count)
        #expect(ids.allSatisfy { $0.madeAt == moment && $0.high & 0xF000 == 0x7000 && $0.low >> 62 == 2 })
    }
}
