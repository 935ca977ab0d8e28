import EventLoop
import Foundation
import HTTPProtocol
import HTTPTypes

/// Joins a queue, or reads it or another path, over REST on some connections: one after the other on each, for a while or up to a number.
final class RequestLoad: @unchecked Sendable {
    // Unchecked: all but the waiting is on the loop.
    private let address: SocketAddress
    private let request: [UInt8]
    private let expected: Int
    private let connections: Int
    private let seconds: Double
    private let limit: Int
    private let loop: EventLoop
    private var sent = 0
    private var answered = 0
    private var failed = 0
    private var isOver = false

    enum Kind { case join, read }

    init(_ kind: Kind, _ options: [String: String]) {
        address = SocketAddress(options["address"]!)!
        connections = Int(options["connections"] ?? "64")!
        seconds = Double(options["seconds"] ?? "1000")!
        limit = Int(options["count"] ?? "1000000000")!
        loop = try! EventLoopGroup(count: 1).loops[0]
        var bytes: [UInt8] = []
        let path = "/v1/queues/\(options["queue"]!)"
        var head = HTTPRequest(method: .get, scheme: nil, authority: "\(address)", path: path)
        switch kind {
        case .read:
            head.path = options["path"] ?? path
            head.headerFields[.authorization] = "Bearer \(options["key"]!)"
            MessageEncoder.encode(head, into: &bytes)
            expected = 200
        case .join:
            head.method = .post
            head.path = path + "/join"
            head.headerFields[.contentType] = "application/json"
            MessageEncoder.encode(head, body: Array(#"{"displayName":"A visitor"}"#.utf8), into: &bytes)
            expected = 201
        }
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
        Bench.report(["answered": Double(answered), "failed": Double(failed), "seconds": took, "perSecond": Double(answered) / took])
    }

    private func end(_ done: DispatchSemaphore) {
        guard !isOver else { return }
        isOver = true
        done.signal()
    }

    private func connect(_ done: DispatchSemaphore) {
        _ = try! Connector(loop: loop, to: address) { [self] result in
            let connection = try! result.get()
            connection.handler = Asker { [self] status in
                if status == expected { answered += 1 } else { failed += 1 }
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

private final class Asker: ConnectionHandler {
    private var parser = ResponseParser(answering: .get)
    private let answered: (Int) -> Void

    init(_ answered: @escaping (Int) -> Void) { self.answered = answered }

    func connection(_ connection: Connection, received bytes: inout MutableRawSpan) {
        parser.receive(bytes.bytes)
        if let answer = try! parser.next() { answered(answer.response.status.code) }
    }
    func connectionTimedOut(_ connection: Connection) {}
}
