import CLinux
import Glibc

/// Accepts connections on one loop. Each loop has its own listener on the same port.
///
/// When the process or the system is out of descriptors (EMFILE, ENFILE, ENOBUFS, ENOMEM), it keeps the others served
/// and tries again every 100 ms. It reports each failed attempt, and the recovery when none has failed for a second: where loops
/// share the last descriptors, single accepts succeed all the time.
public final class Listener: Source {
    public enum Event: Sendable {
        /// An accept failed; the first time since the last recovery, or again.
        case exhausted(SystemError, isFirst: Bool)
        case recovered
    }

    private let descriptor: Descriptor
    private let accepted: (consuming Descriptor, SocketAddress) -> Void
    private let report: (Event) -> Void
    /// Time of the last accept that failed for want of descriptors; nil once the recovery has been reported.
    private var exhaustedAt: UInt64?
    private var isRetryScheduled = false
    /// More are accepted at the end of this turn; connections that are reported until then are among them.
    private var isMoreDeferred = false
    private var isOpen = true

    /// Connections that are accepted before other sources are served.
    private static let mostAtOnce = 16
    private static let retryNanoseconds: UInt64 = 100_000_000
    private static let recoveryNanoseconds: UInt64 = 1_000_000_000

    public init(
        loop: EventLoop, owning descriptor: consuming Descriptor,
        report: @escaping (Event) -> Void,
        accepted: @escaping (consuming Descriptor, SocketAddress) -> Void
    ) throws(SystemError) {
        let number = descriptor.number
        self.descriptor = consume descriptor
        self.report = report
        self.accepted = accepted
        super.init(loop: loop, number: number)
        try loop.add(self, for: .readable)
    }

    /// It serves everybody, and does not wait.
    override var account: UInt64? { nil }

    override func ready(_ readiness: Readiness) { acceptSome() }

    /// Takes new connections no more; the backlog is left to the other listeners of the port.
    public func close() {
        guard isOpen else { return }
        isOpen = false
        loop.remove(self)
        Glibc.shutdown(number, Int32(SHUT_RDWR))
    }

    private func acceptSome() {
        guard !isMoreDeferred else { return }
        for _ in 0..<Listener.mostAtOnce {
            guard isOpen else { return }
            var code: Int32 = 0
            var connected: Int32 = -1
            let peer = SocketAddress { address, length in
                connected = clinux_accept(number, address, length)
                code = -connected
                return connected
            }
            guard connected >= 0 else {
                if code == EAGAIN { return recover() }
                if Listener.isExhaustion(code) { return pause(SystemError("accept", code: code)) }
                continue  // The peer was gone before it was accepted (accept(2), "Error handling").
            }
            recover()
            accepted(Descriptor(owning: connected), peer ?? SocketAddress(host: [0, 0, 0, 0], port: 0))
        }
        isMoreDeferred = true
        loop.defer { [weak self] in
            self?.isMoreDeferred = false
            self?.acceptSome()
        }
    }

    private static func isExhaustion(_ code: Int32) -> Bool { [EMFILE, ENFILE, ENOBUFS, ENOMEM].contains(code) }

    private func pause(_ error: SystemError) {
        report(.exhausted(error, isFirst: exhaustedAt == nil))
        exhaustedAt = loop.now
        retryLater()
    }

    /// Edge-triggered: what is in the backlog now will not be reported again.
    private func retryLater() {
        guard !isRetryScheduled else { return }
        isRetryScheduled = true
        loop.schedule(after: Listener.retryNanoseconds) { [weak self] in
            self?.isRetryScheduled = false
            self?.acceptSome()
        }
    }

    private func recover() {
        guard let exhaustedAt else { return }
        guard loop.now - exhaustedAt >= Listener.recoveryNanoseconds else { return retryLater() }
        self.exhaustedAt = nil
        report(.recovered)
    }
}
