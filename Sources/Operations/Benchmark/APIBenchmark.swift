public import EventLoop
import HTTPTypes

/// Times the requests that matter, one after the other on one connection: what each costs where nothing else is to do.
public final class APIBenchmark: Sendable {
    private let group: EventLoopGroup
    private let client: LoopBound<RESTClient>
    private let key: String

    public init(address: SocketAddress, key: String) throws(SystemError) {
        group = try EventLoopGroup(count: 1)
        self.key = key
        let loop = group.loops[0]
        client = LoopBound(RESTClient(loop: loop, to: address, timeoutSeconds: 30), to: loop)
    }

    /// A request was refused, or not answered.
    public struct Refused: Error, CustomStringConvertible {
        public let description: String
    }

    /// Creates, reads and joins so many times each, and deletes what it made.
    public func run(rounds: Int) async throws -> [ResponseTimes] {
        defer { group.stop() }
        var create = ResponseTimes("create_queue", target: .init(100, 500, 1_000))
        var get = ResponseTimes("get_queue", target: .init(50, 200, 500))
        var join = ResponseTimes("join_queue", target: .init(200, 800, 1_500))
        var queues: [String] = []
        for _ in 0..<max(1, rounds / 10) {
            let answer = try await call(.post, "/v1/queues", body: #"{"name":"benchmark"}"#)
            create.note(nanoseconds: answer.nanoseconds)
            guard let id = JSONText.string("id", in: answer.body) else {
                throw Refused(description: "the answer to a new queue names none")
            }
            queues.append(id)
        }
        for _ in 0..<rounds { get.note(nanoseconds: try await call(.get, "/v1/queues/\(queues[0])").nanoseconds) }
        for _ in 0..<rounds {
            join.note(nanoseconds: try await call(.post, "/v1/queues/\(queues[0])/join", body: #"{"displayName":"somebody"}"#).nanoseconds)
        }
        for queue in queues { _ = try await call(.delete, "/v1/queues/\(queue)") }
        return [create, get, join]
    }

    private func call(_ method: HTTPRequest.Method, _ path: String, body: String? = nil) async throws -> (
        nanoseconds: UInt64, body: [UInt8]
    ) {
        let result = await withCheckedContinuation { answered in
            group.loops[0].execute { [client, key] in
                let began = EventLoop.monotonicNow()
                client.onLoop.send(method, path, key: key, body: body) {
                    answered.resume(returning: (EventLoop.monotonicNow() - began, $0))
                }
            }
        }
        switch result.1 {
        case .success(let answer) where answer.status < 300: return (result.0, answer.body)
        case .success(let answer): throw Refused(description: "\(method) \(path) was answered with \(answer.status)")
        case .failure(let failed): throw Refused(description: "\(method) \(path) was not answered: \(failed.reason.rawValue)")
        }
    }
}
