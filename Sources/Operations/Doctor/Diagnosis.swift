import Telemetry

/// Something that is wrong, in words: what is seen, by which numbers, why it is likely so, what to do, and how to know that
/// it worked.
public struct Diagnosis: Sendable, Encodable, Equatable {
    public enum Severity: String, Sendable, Encodable {
        case critical, warning

        /// nil where the value is not over the lower of its two limits.
        init?(_ value: Double, over warning: Double, criticalOver critical: Double) {
            guard value > warning else { return nil }
            self = value > critical ? .critical : .warning
        }

        init?(_ value: Double, _ limit: Targets.Limit) {
            self.init(value, over: limit.warning, criticalOver: limit.critical ?? .infinity)
        }

        /// Of what a commit waits for its disk.
        init?(syncSeconds: Double) { self.init(syncSeconds, over: 0.05, criticalOver: 0.25) }
    }

    /// What runs short or is slow.
    public enum Chapter: String, Sendable, Encodable { case database, api, memory, processor, network, disk, redis, cache }

    /// Stable: for scripts.
    public let id: String
    public let severity: Severity
    public let chapter: Chapter
    public let symptom: String
    public let evidence: [String]
    public let cause: String
    public let remedy: String
    public let check: String

    init(
        _ id: String, _ severity: Severity, _ chapter: Chapter, symptom: String, evidence: [String], cause: String, remedy: String,
        check: String
    ) {
        self.id = id
        self.severity = severity
        self.chapter = chapter
        self.symptom = symptom
        self.evidence = evidence
        self.cause = cause
        self.remedy = remedy
        self.check = check
    }
}

/// What was looked at, and what is wrong there, the worst first.
public struct Findings: Sendable, Encodable {
    public let diagnoses: [Diagnosis]
    /// What was looked at, and what could not be.
    public let looked: [String]
    public let notLooked: [String]
    /// How a Postgres is used, for whoever wants to see more than what is wrong; nil: none was looked at.
    public let database: DatabaseFigures?

    init(diagnoses: [Diagnosis], looked: [String], notLooked: [String], database: DatabaseFigures? = nil) {
        let (critical, others) = (diagnoses.filter { $0.severity == .critical }, diagnoses.filter { $0.severity != .critical })
        self.diagnoses = critical + others
        self.looked = looked
        self.notLooked = notLooked
        self.database = database
    }

    public var hasCritical: Bool { diagnoses.contains { $0.severity == .critical } }

    public var text: String {
        var lines = looked.map { "Looked at \($0)." } + notLooked.map { "Not looked at: \($0)." }
        if diagnoses.isEmpty { lines.append("Nothing is wrong there.") }
        for diagnosis in diagnoses {
            lines += [
                "", "\(diagnosis.severity.rawValue.uppercased()) \(diagnosis.symptom) (\(diagnosis.id), \(diagnosis.chapter.rawValue))",
            ]
            lines += diagnosis.evidence.map { "  seen:   \($0)" }
            lines += ["  cause:  \(diagnosis.cause)", "  do:     \(diagnosis.remedy)", "  check:  \(diagnosis.check)"]
        }
        return lines.joined(separator: "\n")
    }
}

/// Numbers as people read them.
enum Words {
    static func percent(_ share: Double) -> String { "\(rounded(share * 100)) %" }

    static func time(_ seconds: Double) -> String {
        seconds < 1 ? "\(rounded(seconds * 1_000)) ms" : "\(rounded(seconds)) s"
    }

    /// To three digits.
    static func rounded(_ value: Double) -> String {
        guard value.isFinite else { return "\(value)" }
        let digits = abs(value) >= 100 ? 1.0 : abs(value) >= 10 ? 10.0 : 100.0
        let result = (value * digits).rounded() / digits
        return result == result.rounded() ? "\(Int(result))" : "\(result)"
    }

    /// The largest few of what is counted by name.
    static func largest(_ counts: [String: Double], _ number: Int = 3) -> [String] {
        counts.sorted { ($1.value, $0.key) < ($0.value, $1.key) }.prefix(number).map { "\($0.key): \(rounded($0.value))" }
    }
}
