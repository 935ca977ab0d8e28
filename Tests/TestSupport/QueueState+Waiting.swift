public import QueueEngine

extension QueueState {
    /// Everyone who waits, by lane and number.
    public var allWaiting: [Ticket] {
        (0..<laneCount).flatMap { lane in
            sequence(first: 0) { $0 + 1 }.lazy.map { waiting(lane: lane, at: $0) }.prefix { $0 != nil }.compactMap(\.self)
        }
    }
}
