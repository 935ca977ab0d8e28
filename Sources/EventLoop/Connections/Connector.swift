import CLinux
import Glibc

/// Opens a connection from this side, for clients on a loop. Ends in exactly one call of `completed`.
public final class Connector: Source {
    private var descriptor: Descriptor?
    private let completed: (Result<Connection, SystemError>) -> Void
    private var isDone = false

    /// Begins to connect, from `source` where one is given (its port is the system's to choose).
    ///
    /// - Parameter receiveBuffer: bytes that the kernel keeps for this side, where not as many as it likes.
    public init(
        loop: EventLoop, to address: SocketAddress, from source: SocketAddress? = nil, receiveBuffer: Int32? = nil,
        completed: @escaping (Result<Connection, SystemError>) -> Void
    ) throws(SystemError) {
        let connecting = try Socket.connect(to: address, from: source, receiveBuffer: receiveBuffer)
        let number = connecting.number
        descriptor = consume connecting
        self.completed = completed
        super.init(loop: loop, number: number)
        try loop.add(self, for: .writable)
    }

    override func ready(_ readiness: Readiness) {
        guard !isDone else { return }
        isDone = true
        let code = Socket.pendingError(number)
        loop.remove(self)
        guard code == 0 else {
            descriptor = nil
            return completed(.failure(SystemError("connect", code: code)))
        }
        completed(.success(Connection(loop: loop, owning: descriptor.take()!)))
    }
}
