public import QueueEngine
public import Telemetry

/// An hour of an instance's doing, as a store keeps it for those who ask about days.
public struct StoredHour: Sendable, Equatable {
    /// Hours since 1970.
    public let number: Int
    public let period: Period
    public init(number: Int, period: Period) {
        self.number = number
        self.period = period
    }
}

/// Something that was changed, for the time line: a release, a setting, a campaign.
public struct Mark: Sendable, Hashable {
    public let id: Identifier<Mark>
    public let tenant: TenantID
    public let at: Timestamp
    public let text: String
    public init(id: Identifier<Mark>, tenant: TenantID, at: Timestamp, text: String) {
        self.id = id
        self.tenant = tenant
        self.at = at
        self.text = text
    }
}
