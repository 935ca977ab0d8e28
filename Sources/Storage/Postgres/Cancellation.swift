import CPostgres
import Dispatch
import Locks

/// Asks the server to end what a connection runs, before the connection is closed: closing it alone ends nothing.
///
/// libpq waits for the server while it asks, so a thread of its own does. A server that does not answer holds that thread
/// up; then later requests are left to `statement_timeout`, which ends the statement at about the same time.
enum Cancellation {
    private static let thread = DispatchQueue(label: "stanchion.postgres.cancel")
    private static let waiting = Lock(0)
    private static let maximumWaiting = 16

    static func send(on connection: OpaquePointer) {
        guard
            waiting.withLock({ count in
                guard count < maximumWaiting else { return false }
                count += 1
                return true
            })
        else { return }
        guard let cancel = PQgetCancel(connection) else { return waiting.withLock { $0 -= 1 } }
        let handle = Handle(cancel)
        thread.async {
            var reason = [CChar](repeating: 0, count: 256)
            _ = PQcancel(handle.cancel, &reason, Int32(reason.count))
            PQfreeCancel(handle.cancel)
            waiting.withLock { $0 -= 1 }
        }
    }

    /// `PGcancel` is a copy of the server's address and the connection's key: any thread may use it (libpq, "Cancelling
    /// Queries in Progress").
    private struct Handle: @unchecked Sendable {
        let cancel: OpaquePointer
        init(_ cancel: OpaquePointer) { self.cancel = cancel }
    }
}
