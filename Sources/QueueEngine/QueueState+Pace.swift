/// When releases are due, for whoever measures how late they come.
extension QueueState {
    /// When the pace allows the next release, as seen from `moment`; nil where nobody could be released then.
    ///
    /// Seen from much later than the last release, what was due before is not caught up on and no longer shows.
    public func nextRelease(after moment: Timestamp) -> Timestamp? {
        canRelease ? pacing.nextDue(rate: configuration.releaseRatePerMinute, after: moment) : nil
    }

    /// From one release to the next at this rate; nil at rate 0.
    public var releaseInterval: Timestamp.Span? {
        configuration.releaseRatePerMinute > 0
            ? Timestamp.Span(microseconds: 60_000_000 / Int64(configuration.releaseRatePerMinute)) : nil
    }

    /// How far back a release that comes late is caught up on; the rest of its delay sets back all that follow.
    public static let releaseCatchUp = Pacing.catchUp
}
