import HTTPTypes
import QueueEngine
import QueueService

/// What a body says about a queue, as changes to whatever the queue is when they are decided: two operators who set
/// different things at the same time both get what they asked for.
struct QueueSettings: Sendable {
    private typealias Change = @Sendable (inout QueueRecord) -> Void
    private var changes: [Change] = []
    private var lanes: [PriorityLane]?

    private static let known = """
        name, slug, description, maxConcurrentUsers, releaseRatePerMinute, graceSeconds, admissionTTLSeconds, \
        settleSeconds, maxWaiting, opensAt, closesAt, priorityLanes, redirectURL
        """

    /// - Parameter isNew: of a queue that is made, which must have a name.
    init(_ body: Fields, isNew: Bool) throws(Problem) {
        var fields = body
        try takeDescription(&fields, isNew: isNew)
        try takePace(&fields)
        try takeTimes(&fields)
        try takeLanes(&fields)
        try fields.finish(known: QueueSettings.known)
    }

    /// - Throws: `invalidSetting` where a value cannot be beside the record's others.
    func apply(to record: inout QueueRecord) throws(ServiceError) {
        for change in changes { change(&record) }
        if let lanes { try QueueSettings.set(lanes, in: &record) }
    }

    /// Adds a change where the body names a value.
    private mutating func set<V: Sendable>(_ value: V?, _ path: any WritableKeyPath<QueueRecord, V> & Sendable) {
        if let value { changes.append { $0[keyPath: path] = value } }
    }

    /// The same for what may also be taken away.
    private mutating func set<V: Sendable>(_ isNull: Bool, _ value: V?, _ path: any WritableKeyPath<QueueRecord, V?> & Sendable) {
        if isNull || value != nil { changes.append { $0[keyPath: path] = value } }
    }

    private mutating func takeDescription(_ fields: inout Fields, isNew: Bool) throws(Problem) {
        set(isNew ? try fields.requiredString("name") : try fields.string("name"), \.name)
        set(try fields.string("description", max: 2_000), \.description)
        let slug = try fields.string("slug", max: 64)
        if let slug, slug.wholeMatch(of: /[a-z0-9]([a-z0-9-]*[a-z0-9])?/) == nil {
            throw fields.wrong("slug", "must be lower case letters, digits and hyphens")
        }
        // It would lead to the queue that has this id.
        if let slug, QueueID(slug) != nil { throw fields.wrong("slug", "must not have the form of an id") }
        set(slug, \.slug)
        let isNull = fields.takeNull("redirectURL")
        let address = try fields.string("redirectURL", max: 1_000)
        if let address, !RedirectURL.isUsable(address) {
            throw fields.wrong("redirectURL", "must be an http or https address of printable ASCII")
        }
        set(isNull, address, \.redirectURL)
    }

    private mutating func takePace(_ fields: inout Fields) throws(Problem) {
        set(try fields.integer("maxConcurrentUsers", in: 1...10_000_000), \.configuration.maxConcurrentUsers)
        set(try fields.integer("releaseRatePerMinute", in: 0...1_000_000), \.configuration.releaseRatePerMinute)
        set(try fields.integer("graceSeconds", in: 5...86_400), \.configuration.graceSeconds)
        set(try fields.integer("admissionTTLSeconds", in: 5...604_800), \.configuration.admissionTTLSeconds)
        set(try fields.integer("settleSeconds", in: 0...600), \.configuration.settleSeconds)
        set(fields.takeNull("maxWaiting"), try fields.integer("maxWaiting", in: 0...100_000_000), \.configuration.maxWaiting)
    }

    private mutating func takeTimes(_ fields: inout Fields) throws(Problem) {
        set(fields.takeNull("opensAt"), try fields.time("opensAt"), \.configuration.opensAt)
        set(fields.takeNull("closesAt"), try fields.time("closesAt"), \.configuration.closesAt)
    }

    private mutating func takeLanes(_ fields: inout Fields) throws(Problem) {
        guard let objects = try fields.objects("priorityLanes", max: 8) else { return }
        var lanes: [PriorityLane] = []
        for var object in objects {
            let lane = PriorityLane(
                name: try object.requiredString("name", max: 64), sharePercent: try object.integer("sharePercent", in: 1...100) ?? 100)
            try object.finish(known: "name, sharePercent")
            guard !lanes.contains(where: { $0.name == lane.name }) else { throw fields.wrong("priorityLanes", "must have different names") }
            lanes.append(lane)
        }
        guard lanes.filter({ $0.sharePercent < 100 }).reduce(0, { $0 + $1.sharePercent }) < 100 else {
            throw fields.wrong("priorityLanes", "must leave a share for the general lane")
        }
        self.lanes = lanes
    }

    /// A lane's place in the list is in its tickets: lanes are added at the end and never taken away.
    private static func set(_ lanes: [PriorityLane], in record: inout QueueRecord) throws(ServiceError) {
        let before = record.configuration.priorityLanes
        guard lanes.count >= before.count, zip(before, lanes).allSatisfy({ $0.name == $1.name }) else {
            throw .invalidSetting(field: "priorityLanes", reason: "must keep the lanes that there are, in their order")
        }
        record.configuration.priorityLanes = lanes
    }
}
