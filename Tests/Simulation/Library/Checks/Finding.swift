public import QueueEngine

/// Something that must not be.
public struct Finding: Sendable, Hashable, CustomStringConvertible {
    /// What kind of promise was broken.
    public enum Kind: String, Sendable, CaseIterable {
        case log, state, presence, order, cap, rate, display, replica, progress, cost, fairness, growth, honesty, events, tenants
    }

    public let kind: Kind
    public let at: Timestamp
    public let text: String

    public init(_ kind: Kind, _ text: String, at moment: Timestamp) {
        self.kind = kind
        self.text = text
        at = moment
    }

    public var description: String { "\(kind.rawValue): \(text) (at \(at.seconds))" }
}
