import QueueEngine

/// A digest of everything that happened, in order: two runs of one seed must agree in it to the last event.
struct Trace {
    private(set) var digest: UInt64 = 0xCBF2_9CE4_8422_2325
    private(set) var count = 0

    mutating func add(_ words: UInt64...) {
        for word in words {
            digest ^= word
            digest &*= 0x9E37_79B9_7F4A_7C15
            digest ^= digest >> 29
        }
        count += 1
    }
}
