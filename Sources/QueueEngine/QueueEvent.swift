/// One entry of a queue's log. The state of a queue is what its events make of an empty one.
public struct QueueEvent: Sendable, Hashable {
    /// Gapless from 1.
    public let seq: UInt64
    /// Never before the event before it.
    public let at: Timestamp
    public let change: Change

    public init(seq: UInt64, at: Timestamp, change: Change) {
        self.seq = seq
        self.at = at
        self.change = change
    }

    public enum Change: Sendable, Hashable {
        /// Made, or set anew. The first event of every log.
        indirect case configured(QueueConfiguration)
        case opened, paused, resumed
        /// Everyone who waited has been sent away.
        case closed
        /// Present from now on.
        case joined(Ticket)
        /// Came back.
        case connected([Arrival])
        /// Went out of sight.
        case disconnected([TicketRange])
        /// Went out of sight with the instance that saw them, which died or is drained: absent since `since`, which all who
        /// were lost together share. The line waits for them until `until`.
        case lost([TicketRange], since: Timestamp, until: Timestamp)
        /// Nobody is in sight any more. Grace counts anew from here for all who wait, and the line waits for `settleSeconds`
        /// for those who were in sight, or whom it waited for already, or who have been out of sight since an earlier such moment.
        case everyoneDisconnected
        case admitted(Ticket, until: Timestamp)
        /// The admission has served its purpose.
        case completed(Ticket)
        case left(Ticket)
        case expired(Ticket, ExpiryReason)
        /// Something was said to everyone; the words are the store's, under this event's `seq`.
        case announced
    }
}

public enum ExpiryReason: String, Sendable, Hashable, CaseIterable {
    /// Absent longer than `graceSeconds`.
    case grace
    /// The admission was not used within `admissionTTLSeconds`: a no-show.
    case admission
    /// Taken out by an operator or integrator.
    case removed
}
