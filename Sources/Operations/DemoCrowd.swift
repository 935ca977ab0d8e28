public import EventLoop
import Synchronization

/// A bounded crowd of real clients on loopback that stand in a queue, are let in, stay a while and give their place
/// back, so that a newcomer sees a line move.
public final class DemoCrowd: Sendable {
    private let group: EventLoopGroup
    private let isStopped = Atomic<Bool>(false)
    /// So many clients at most, ever at once.
    public static let size = 40

    public init(address: SocketAddress, queue: String) throws(SystemError) {
        group = try EventLoopGroup(count: 1)
        let loop = group.loops[0]
        loop.execute { [self] in
            for index in 0..<DemoCrowd.size {
                // The line is there at once; after that people come as others go.
                loop.schedule(after: UInt64(index) * 20_000_000) { [self] in enter(loop, address, queue) }
            }
        }
    }

    public func stop() {
        isStopped.store(true, ordering: .relaxed)
        group.stop()
    }

    private func enter(_ loop: EventLoop, _ address: SocketAddress, _ queue: String) {
        guard !isStopped.load(ordering: .relaxed) else { return }
        let first = #"{"type":"join","queue":"\#(queue)","displayName":"somebody"}"#
        let comeBack = { [self] in
            _ = loop.schedule(after: UInt64.random(in: 1_000_000_000...8_000_000_000)) { [self] in enter(loop, address, queue) }
        }
        do throws(SystemError) {
            _ = try LineClient(loop: loop, to: address, first: first) { client, event, _ in
                switch event {
                case .joined:
                    // One of ten loses patience.
                    guard Int.random(in: 0..<10) == 0 else { return }
                    loop.schedule(after: UInt64.random(in: 5_000_000_000...40_000_000_000)) { client.send(#"{"type":"leave"}"#) }
                case .admitted:
                    loop.schedule(after: UInt64.random(in: 2_000_000_000...12_000_000_000)) { client.send(#"{"type":"leave"}"#) }
                case .closed: comeBack()
                case .position, .ended: break
                }
            }
        } catch {
            comeBack()
        }
    }
}
