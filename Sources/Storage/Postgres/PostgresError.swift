import CPostgres
import QueueService

/// Why a statement did not do what it was asked to.
struct PostgresError: Error, Sendable, Hashable, CustomStringConvertible {
    /// The five characters of SQLSTATE; nil where the server said nothing: it was not reached, or is gone.
    let state: String?
    let message: String
    /// Whether the statement may have been carried out all the same: it was sent, and no answer came.
    var isInDoubt = false
    /// No connection was free for it: it was not sent, and the server may be well.
    var isBusy = false
    /// The lock that was waited for is a row's. Where several wait for one row only the first is told so.
    var isRowLockTimeout = false

    static func busy(_ why: String) -> PostgresError {
        var error = PostgresError(state: nil, message: why)
        error.isBusy = true
        return error
    }

    static func lost(_ why: String, isInDoubt: Bool) -> PostgresError {
        PostgresError(state: nil, message: why, isInDoubt: isInDoubt)
    }

    /// Somebody else has made a row with this key meanwhile.
    var isUniqueViolation: Bool { state == "23505" }
    /// The server does not take the values themselves: data exceptions (class 22), violated constraints (23), and values that
    /// exceed a limit of the server (54), such as a key that is too long for an index.
    var isRejection: Bool { state.map { ["22", "23", "54"].contains($0.prefix(2)) } ?? false }
    /// The server has found damage, or its disk has: of some pages, perhaps, and not of others (classes XX and 58).
    var isDamage: Bool { state.map { ["XX", "58"].contains($0.prefix(2)) } ?? false }
    /// Another transaction has held a lock for too long.
    var isLockTimeout: Bool { state == "55P03" }
    /// Two transactions stood in each other's way, and this one was chosen to give way.
    var isGivingWay: Bool { state == "40001" || isDeadlock }
    var isDeadlock: Bool { state == "40P01" }

    var description: String { state.map { "\(message) (\($0))" } ?? message }
}

extension PostgresError {
    init(result: OpaquePointer) {
        let state = PQresultErrorField(result, Int32(UInt8(ascii: "C")))  // PG_DIAG_SQLSTATE
        self.init(state: state.map { String(cString: $0) }, message: PostgresError.line(PQresultErrorMessage(result)))
        // PG_DIAG_CONTEXT: what was being done to which tuple. A table has none.
        isRowLockTimeout = isLockTimeout && PQresultErrorField(result, Int32(UInt8(ascii: "W"))) != nil
    }

    /// libpq's words without its line ends: they go into a log line.
    static func line(_ text: UnsafePointer<CChar>?) -> String {
        guard let text else { return "no reason given" }
        return String(cString: text).split(whereSeparator: \.isNewline).joined(separator: "; ")
    }
}

extension StoreError {
    /// Of what changes nothing: there is no doubt about it.
    init(reading error: PostgresError) {
        var known = error
        known.isInDoubt = false
        self.init(known)
    }

    init(_ error: PostgresError) {
        if error.isInDoubt {
            self = .inDoubt(error.description)
            return
        }
        if error.isBusy || error.isRowLockTimeout {
            self = .busy(error.message)
            return
        }
        switch error.state {
        case .some where error.isRejection: self = .rejected(error.description)
        case "53100": self = .full
        case .some where error.isDamage: self = .corrupt(error.description)
        default: self = .unavailable(error.description)
        }
    }
}
