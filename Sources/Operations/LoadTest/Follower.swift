import EventLoop
import HTTPProtocol

/// The numbers of a stream's events, and those between them that never came.
struct FollowedEvents {
    private(set) var count = 0
    private(set) var missing = 0
    private var last: Int?
    private var line: [UInt8] = []

    /// Takes any part of a stream of server-sent events.
    mutating func receive(_ bytes: some Sequence<UInt8>) {
        for byte in bytes {
            if byte == UInt8(ascii: "\n") { take() } else if line.count < 32 { line.append(byte) }
        }
    }

    /// `id: 5` names an event; other lines do not matter, and only their beginnings are kept.
    private mutating func take() {
        defer { line.removeAll(keepingCapacity: true) }
        guard line.starts(with: "id: ".utf8), let seq = Int(String(decoding: line.dropFirst(4), as: UTF8.self)) else { return }
        if let last { missing += abs(seq - last - 1) }
        last = seq
        count += 1
    }
}

/// An integrator who follows a queue's events and looks whether one is missing.
final class Follower: ConnectionHandler {
    private(set) var events = FollowedEvents()
    private let ended: () -> Void
    private var connector: Connector?
    private var connection: Connection?

    /// - Parameter ended: told when the stream has ended, or never began.
    init(loop: EventLoop, to address: SocketAddress, queue: String, key: String, ended: @escaping () -> Void) {
        self.ended = ended
        // In HTTP/1.0 there are no chunks to take apart.
        let request = "GET /v1/events?queue=\(queue) HTTP/1.0\r\nHost: \(address)\r\nAuthorization: Bearer \(key)\r\n\r\n"
        do throws(SystemError) {
            connector = try Connector(loop: loop, to: address) { [self] result in
                connector = nil
                do throws(SystemError) {
                    let connection = try result.get()
                    self.connection = connection
                    connection.handler = self
                    try connection.start()
                    connection.send(Array(request.utf8))
                } catch {
                    ended()
                }
            }
        } catch {
            ended()
        }
    }

    func close() { connection?.close() }

    func connection(_ connection: Connection, received bytes: inout MutableRawSpan) {
        bytes.bytes.withUnsafeBytes { events.receive($0) }
    }

    func connectionTimedOut(_ connection: Connection) {}
    func connectionClosed(_ connection: Connection) {
        self.connection = nil
        ended()
    }
}
