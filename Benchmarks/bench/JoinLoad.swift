import EventLoop
import Foundation
import HTTPProtocol
import HTTPTypes

/// Joins over REST on some connections, one after the other on each, for a while or up to a number.
final class JoinLoad: @unchecked Sendable {
    // Unchecked: all but the waiting is on the loop.
    private let address: SocketAddress
    private let request: [UInt8]
    private let connections: Int
    private let seconds: Double
    private let limit: Int
    private let loop: EventLoop
    private var sent = 0
    private var answered = 0
    private var failed = 0
    private var isOver = false

    init(_ options: [String: String]) {
        address = SocketAddress(options["address"]!)!
        connections = Int(options["connections"] ?? "64")!
        seconds = Double(options["seconds"] ?? "1000")!
        limit = Int(options["count"] ?? "1000000000")!
        loop = try! EventLoopGroup(count: 1).loops[0]
        var bytes: [UInt8] = []
        var head = HTTPRequest(method: .post, scheme: nil, authority: "\(address)", path: "/v1/queues/\(options["queue"]!)/join")
        head.headerFields[.contentType] = "application/json"
        MessageEncoder.encode(head, body: Array(#"{"displayName":"A visitor"}"#.utf8), into: &bytes)
        request = bytes
    }

    func run() {
        let began = EventLoop.monotonicNow()
        let done = DispatchSemaphore(value: 0)
        loop.execute { [self] in
            for _ in 0..<connections { connect(done) }
            loop.schedule(after: UInt64(seconds * 1e9)) { [self] in end(done) }
        }
        done.wait()
        let took = Double(EventLoop.monotonicNow() - began) / 1e9
        Bench.report(["joins": Double(answered), "failed": Double(failed), "seconds": took, "perSecond": Double(answered) / took])
    }

    private func end(_ done: DispatchSemaphore) {
        guard !isOver else { return }
        isOver = true
        done.signal()
    }

    private func connect(_ done: DispatchSemaphore) {
        _ = try! Connector(loop: loop, to: address) { [self] result in
            let connection = try! result.get()
            connection.handler = Joiner { [self] status in
                if status == 201 { answered += 1 } else { failed += 1 }
                if answered + failed >= limit { end(done) }
                next(connection)
            }
            try! connection.start()
            next(connection)
        }
    }

    private func next(_ connection: Connection) {
        guard !isOver, sent < limit else { return }
        sent += 1
        connection.send(request)
    }
}

private final class Joiner: ConnectionHandler {
    private var parser = ResponseParser(answering: .post)
    private let answered: (Int) -> Void

    init(_ answered: @escaping (Int) -> Void) { self.answered = answered }

    func connection(_ connection: Connection, received bytes: inout MutableRawSpan) {
        parser.receive(bytes.bytes)
        if let answer = try! parser.next() { answered(answer.response.status.code) }
    }
    func connectionTimedOut(_ connection: Connection) {}
}
