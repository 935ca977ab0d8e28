/// Watches a descriptor that somebody else owns and reads: a client library's socket. Confined to its loop.
public final class DescriptorWatch: Source {
    public enum Interest: Sendable { case reading, writing, both }

    private let became: () -> Void
    private var isOver = false

    /// - Parameter became: called when the descriptor has become ready, or has failed. Reports come once: after each,
    ///   `wait(for:)` asks for the next.
    public init(loop: EventLoop, descriptor: Int32, for interest: Interest, became: @escaping () -> Void) throws(SystemError) {
        self.became = became
        super.init(loop: loop, number: descriptor)
        try loop.add(self, for: interest.readiness)
    }

    /// It serves everybody, and does not wait.
    override var account: UInt64? { nil }

    override func ready(_ readiness: Readiness) { became() }

    /// What to report next; what is there already is reported too.
    public func wait(for interest: Interest) {
        if !isOver { loop.change(self, to: interest.readiness) }
    }

    /// To be called before the owner closes the descriptor, whose number may be another's right after.
    public func cancel() {
        guard !isOver else { return }
        isOver = true
        loop.remove(self)
    }
}

extension DescriptorWatch.Interest {
    fileprivate var readiness: Readiness {
        switch self {
        case .reading: .incoming
        case .writing: .writable
        case .both: .incomingAndRoom
        }
    }
}
