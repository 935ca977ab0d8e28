import EventLoop

/// Connections that read and do nothing else: the other side of the bare loop.
final class Readers: @unchecked Sendable {
    // Unchecked: everything is on the loop.
    private let address: SocketAddress
    private let count: Int
    private let loop: EventLoop
    private var started = 0

    init(_ options: [String: String]) {
        address = SocketAddress(options["address"]!)!
        count = Int(options["count"]!)!
        loop = try! EventLoopGroup(count: 1).loops[0]
    }

    func run() {
        loop.execute { [self] in for _ in 0..<min(count, 64) { connect() } }
        while readLine() != nil {}
    }

    private func connect() {
        guard started < count else { return }
        started += 1
        let source = SocketAddress("127.0.0.\(2 + started / 10_000):0")!
        _ = try! Connector(loop: loop, to: address, from: source) { [self] result in
            let connection = try! result.get()
            connection.handler = Ignoring()
            try! connection.start()
            connect()
        }
    }
}

private final class Ignoring: ConnectionHandler {
    func connection(_ connection: Connection, received bytes: inout MutableRawSpan) {}
    func connectionTimedOut(_ connection: Connection) {}
}
