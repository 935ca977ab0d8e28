import Glibc

/// A system call that failed: which one, and with what error number.
public struct SystemError: Error, Sendable, Equatable, CustomStringConvertible {
    public let call: String
    public let code: Int32

    public init(_ call: String, code: Int32) {
        self.call = call
        self.code = code
    }

    /// The error of the call that has just failed on this thread.
    static func last(_ call: String) -> SystemError { SystemError(call, code: errno) }

    public var description: String { "\(call): \(String(cString: strerror(code)))" }
}

/// Turns the `-errno` convention of `CLinux` into a thrown error.
func checked(_ call: String, _ result: Int32) throws(SystemError) -> Int32 {
    guard result >= 0 else { throw SystemError(call, code: -result) }
    return result
}
