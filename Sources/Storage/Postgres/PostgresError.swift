import CPostgres
import QueueService

/// Why a statement did not do what it was asked to.
struct PostgresError: Error, Sendable, Hashable, CustomStringConvertible {
    /// The five characters of SQLSTATE; nil where the server said nothing: it was not reached, or is gone.
    let state: String?
    let message: String
    /// Whether the statement may have been carried out all the same: it was sent, and no answer came.
    var isInDoubt = false

    static func lost(_ why: String, isInDoubt: Bool) -> PostgresError {
        PostgresError(state: nil, message: why, isInDoubt: isInDoubt)
    }

    /// Somebody else has made a row with this key meanwhile.
    var isUniqueViolation: Bool { state == "23505" }
    /// Two transactions stood in each other's way, and this one was chosen to give way.
    var isGivingWay: Bool { state == "40001" || isDeadlock }
    var isDeadlock: Bool { state == "40P01" }

    var description: String { state.map { "\(message) (\($0))" } ?? message }
}

extension PostgresError {
    init(result: OpaquePointer) {
        let state = PQresultErrorField(result, Int32(UInt8(ascii: "C")))  // PG_DIAG_SQLSTATE
        self.init(state: state.map { String(cString: $0) }, message: PostgresError.line(PQresultErrorMessage(result)))
    }

    /// libpq's words without its line ends: they go into a log line.
    static func line(_ text: UnsafePointer<CChar>?) -> String {
        guard let text else { return "no reason given" }
        return String(cString: text).split(whereSeparator: \.isNewline).joined(separator: "; ")
    }
}

extension StoreError {
    init(_ error: PostgresError) {
        if error.isInDoubt {
            self = .inDoubt(error.description)
            return
        }
        switch error.state {
        case "53100": self = .full
        case .some(let state) where state.hasPrefix("XX"): self = .corrupt(error.message)
        default: self = .unavailable(error.description)
        }
    }
}
