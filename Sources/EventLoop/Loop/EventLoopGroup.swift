import CLinux
import Glibc

/// The loops of a process, a thread each.
public final class EventLoopGroup: Sendable {
    public let loops: [EventLoop]

    /// Makes and starts `count` loops.
    public init(count: Int) throws(SystemError) {
        var made: [EventLoop] = []
        for index in 0..<count { made.append(try EventLoop(index: index)) }
        loops = made
        for loop in loops { EventLoopGroup.startThread(loop) }
    }

    /// Processors that this process may run on (sched_getaffinity(2)): fewer than the machine has where it is bound to some.
    public static var coreCount: Int { max(1, Int(clinux_processor_count())) }

    /// Allows this process as many descriptors as the system grants it; returns that number.
    @discardableResult
    public static func raiseDescriptorLimit() -> Int { Int(clinux_raise_descriptor_limit()) }

    /// A listener on each loop, all on one port. `accepted` is called on the loop that accepted.
    ///
    /// - Parameters:
    ///   - sendBuffer: about how many bytes the kernel keeps of what a connection's peer has not taken; nil: as many as it likes.
    ///   - receiveBuffer: the same of what has come and has not been read.
    /// - Returns: the address that was bound: where port 0 was asked for, the one that the system chose.
    public func listen(
        on address: SocketAddress, backlog: Int32 = 4096, sendBuffer: Int32? = nil, receiveBuffer: Int32? = nil,
        report: @escaping @Sendable (Listener.Event) -> Void,
        started: @escaping @Sendable (EventLoop, Listener) -> Void,
        accepted: @escaping @Sendable (EventLoop, consuming Descriptor, SocketAddress) -> Void
    ) throws(SystemError) -> SocketAddress {
        guard try !Socket.isTaken(address) else { throw SystemError("bind", code: EADDRINUSE) }
        var bound = address
        for loop in loops {
            let socket = try Socket.listen(on: bound, backlog: backlog, sendBuffer: sendBuffer, receiveBuffer: receiveBuffer)
            bound = Socket.localAddress(socket.number) ?? bound
            let number = socket.surrender()  // A closure must be copyable, an owner is not.
            loop.execute {
                // Only memory or the epoll limit can make this fail, and then nothing can be served.
                let listener = try! Listener(loop: loop, owning: Descriptor(owning: number), report: report) {
                    accepted(loop, $0, $1)
                }
                started(loop, listener)
            }
        }
        return bound
    }

    public func stop() { for loop in loops { loop.stop() } }

    private static func startThread(_ loop: EventLoop) {
        var thread = pthread_t()
        let context = Unmanaged.passRetained(loop).toOpaque()
        let result = pthread_create(
            &thread, nil,
            { raw in
                let loop = Unmanaged<EventLoop>.fromOpaque(raw!).takeRetainedValue()
                clinux_name_thread("loop-\(loop.index)")
                loop.run()
                return nil
            }, context)
        precondition(result == 0, "pthread_create failed: \(result)")
        pthread_detach(thread)
    }
}
