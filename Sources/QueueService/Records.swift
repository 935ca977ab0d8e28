public import QueueEngine

/// Whose queues they are.
public struct Tenant: Sendable, Hashable {
    public let id: TenantID
    public var name: String
    public init(id: TenantID, name: String) {
        self.id = id
        self.name = name
    }
}

/// What a key may do.
public enum KeyRole: String, Sendable, Hashable, CaseIterable {
    /// Follows events, joins for people, completes sessions, reads.
    case integrator
    /// That, and runs the tenant's queues.
    case `operator`
    /// That, and makes tenants and keys.
    case admin
}

extension KeyRole: Comparable {
    /// By what they may do.
    private var rank: Int {
        switch self {
        case .integrator: 0
        case .operator: 1
        case .admin: 2
        }
    }

    public static func < (a: KeyRole, b: KeyRole) -> Bool { a.rank < b.rank }
}

/// A key to the API. The key itself is shown once and never kept; what is kept is its SHA-256.
public struct APIKey: Sendable, Hashable {
    public let id: KeyID
    public let tenant: TenantID
    public let role: KeyRole
    public let hash: [UInt8]
    public var label: String
    public init(id: KeyID, tenant: TenantID, role: KeyRole, hash: [UInt8], label: String) {
        self.id = id
        self.tenant = tenant
        self.role = role
        self.hash = hash
        self.label = label
    }
}

/// A queue as its operator sees it: the line's settings, and what is shown of it.
public struct QueueRecord: Sendable, Hashable {
    public let id: QueueID
    public let tenant: TenantID
    /// Which history of the queue the log tells: made with it, and another one for each history of the store since.
    /// Odd as long as there has been one history only.
    public let epoch: UInt64
    /// In addresses: lower case letters, digits and hyphens, unique in the store.
    public var slug: String
    public var name: String
    public var description: String
    /// Where an admitted browser is sent.
    public var redirectURL: String?
    public var configuration: QueueConfiguration
    public let createdAt: Timestamp

    public init(
        id: QueueID, tenant: TenantID, epoch: UInt64, slug: String, name: String, description: String = "",
        redirectURL: String? = nil, configuration: QueueConfiguration, createdAt: Timestamp
    ) {
        self.id = id
        self.tenant = tenant
        self.epoch = epoch
        self.slug = slug
        self.name = name
        self.description = description
        self.redirectURL = redirectURL
        self.configuration = configuration
        self.createdAt = createdAt
    }
}

/// Who somebody in line is.
public struct Visitor: Sendable, Hashable {
    /// The integrator's id for the person; trusted, because it came with a key. One place a person.
    public var user: String?
    /// What a browser calls itself: a label and nothing more.
    public var label: String?
    public var displayName: String?
    /// A JSON object, as it came.
    public var metadata: String?
    public init(user: String? = nil, label: String? = nil, displayName: String? = nil, metadata: String? = nil) {
        self.user = user
        self.label = label
        self.displayName = displayName
        self.metadata = metadata
    }
}

public enum SessionStatus: String, Sendable, Hashable, CaseIterable {
    case waiting, admitted, completed, left, expired
}

/// One person's stay, from joining to its end.
public struct SessionRecord: Sendable, Hashable {
    public let id: SessionID
    public let tenant: TenantID
    public let queue: QueueID
    public let ticket: Ticket
    public let visitor: Visitor
    public var status: SessionStatus
    /// Why it expired: an `ExpiryReason`, or `closed`.
    public var endReason: String?
    public let createdAt: Timestamp
    public var admittedAt: Timestamp?
    /// Until when the admission can be used.
    public var expiresAt: Timestamp?
    public var endedAt: Timestamp?

    public init(
        id: SessionID, tenant: TenantID, queue: QueueID, ticket: Ticket, visitor: Visitor, status: SessionStatus,
        endReason: String? = nil, createdAt: Timestamp, admittedAt: Timestamp? = nil, expiresAt: Timestamp? = nil,
        endedAt: Timestamp? = nil
    ) {
        self.id = id
        self.tenant = tenant
        self.queue = queue
        self.ticket = ticket
        self.visitor = visitor
        self.status = status
        self.endReason = endReason
        self.createdAt = createdAt
        self.admittedAt = admittedAt
        self.expiresAt = expiresAt
        self.endedAt = endedAt
    }
}

extension SessionRecord {
    /// It has not ended.
    public var isUnderWay: Bool { status == .waiting || status == .admitted }
}

extension QueueRecord {
    /// The epoch of a queue that was made with the epoch `first` in a history of the store, where that tells another one by now:
    /// different in each, and even.
    public static func epoch(_ first: UInt64, madeIn history: UInt64, current: UInt64) -> UInt64 {
        history == current ? first : (first ^ current) & ~1
    }

    /// The store was once restored from an older copy: tickets that were given out afterwards may have been given out anew,
    /// so what a token says of one is asked of the store.
    public var isRestored: Bool { epoch & 1 == 0 }
}

public enum Severity: String, Sendable, Hashable, CaseIterable { case info, warning, critical }

/// A word to everyone in a queue. It is named by the `seq` of its event.
public struct Announcement: Sendable, Hashable {
    public let seq: UInt64
    public let text: String
    public let severity: Severity
    public let publishedAt: Timestamp
    public let expiresAt: Timestamp?
    public init(seq: UInt64, text: String, severity: Severity, publishedAt: Timestamp, expiresAt: Timestamp?) {
        self.seq = seq
        self.text = text
        self.severity = severity
        self.publishedAt = publishedAt
        self.expiresAt = expiresAt
    }
}

extension [Announcement] {
    /// Puts what is new, the oldest first, before what was known, the newest first. Who comes later is told the last twenty.
    public mutating func prepend(_ new: [Announcement]) { self = Array((new.reversed() + self).prefix(20)) }
}

/// An entry of the log with all that a reader of it is told.
public struct LogEntry: Sendable, Hashable {
    public let event: QueueEvent
    /// Whom it is about.
    public let session: SessionID?
    public let user: String?
    public let announcement: Announcement?
    public init(event: QueueEvent, session: SessionID? = nil, user: String? = nil, announcement: Announcement? = nil) {
        self.event = event
        self.session = session
        self.user = user
        self.announcement = announcement
    }
}

/// Proof that a write with an `Idempotency-Key` was done: what was asked (hashed) and what came of it.
public struct Receipt: Sendable, Hashable {
    public let tenant: TenantID
    public let key: String
    public let requestHash: [UInt8]
    /// What identifies what the write made, most often its id.
    public let result: String
    public init(tenant: TenantID, key: String, requestHash: [UInt8], result: String) {
        self.tenant = tenant
        self.key = key
        self.requestHash = requestHash
        self.result = result
    }
}

/// How far a reader of a queue's log that gives itself a name has come.
public struct ConsumerPosition: Sendable, Hashable {
    public let tenant: TenantID
    public let queue: QueueID
    /// Whose name it is: no other key can move it.
    public let key: KeyID
    public let name: String
    /// The reader has everything up to this event.
    public let seq: UInt64
    /// The reader named it. Otherwise it begins here only where it has none yet, and what it once named ages.
    public let isExplicit: Bool
    public init(tenant: TenantID, queue: QueueID, key: KeyID, name: String, seq: UInt64, isExplicit: Bool = true) {
        self.tenant = tenant
        self.queue = queue
        self.key = key
        self.name = name
        self.seq = seq
        self.isExplicit = isExplicit
    }
}

/// How far a log is, and when its last event was.
///
/// Logs that tell different histories of a queue, as before and after it was restored from a backup, may be equally
/// long, but not have the same event last at the same microsecond.
public struct LogPosition: Sendable, Hashable {
    public let seq: UInt64
    public let at: Timestamp
    public init(seq: UInt64, at: Timestamp) {
        self.seq = seq
        self.at = at
    }
}

extension LogPosition {
    /// Whether a log that was at `earlier` can be here now.
    func mayFollow(_ earlier: LogPosition) -> Bool { seq == earlier.seq ? at == earlier.at : seq > earlier.seq && at >= earlier.at }
}

extension QueueState {
    public var position: LogPosition { LogPosition(seq: head, at: lastEventAt) }
}

extension QueueEvent {
    var position: LogPosition { LogPosition(seq: seq, at: at) }
}
