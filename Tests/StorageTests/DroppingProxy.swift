import Foundation
import Locks

/// Stands between a client and a server, and can lose one answer of the server's: it ends the connection in its place, and
/// takes no other until it is told to.
final class DroppingProxy: Sendable {
    enum Phase { case passing, dropping, refusing }

    private let server: UInt16
    private let listener: Int32
    let port: UInt16
    private let state = Lock(Phase.passing)

    var phase: Phase { state.withLock { $0 } }
    func dropNextAnswer() { state.withLock { $0 = .dropping } }
    func refuse() { state.withLock { $0 = .refusing } }
    func pass() { state.withLock { $0 = .passing } }

    init(to server: UInt16) {
        self.server = server
        let listener = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        self.listener = listener
        var address = DroppingProxy.loopback(0)
        precondition(withSockaddr(&address) { bind(listener, $0, $1) } == 0 && listen(listener, 64) == 0)
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        _ = withUnsafeMutablePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { getsockname(listener, $0, &length) }
        }
        port = UInt16(bigEndian: address.sin_port)
        Thread.detachNewThread {
            while case let client = accept(listener, nil, nil), client >= 0 { self.serve(client) }
        }
    }

    /// Its thread ends with the listener.
    func stop() {
        refuse()
        shutdown(listener, Int32(SHUT_RDWR))
        close(listener)
    }

    private func serve(_ client: Int32) {
        let upstream = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        var address = DroppingProxy.loopback(server)
        guard phase != .refusing, withSockaddr(&address, { connect(upstream, $0, $1) }) == 0 else {
            close(client)
            close(upstream)
            return
        }
        Thread.detachNewThread {
            self.copy(client, upstream)
            close(client)
            close(upstream)
        }
    }

    private func copy(_ client: Int32, _ upstream: Int32) {
        var polled = [
            pollfd(fd: client, events: Int16(POLLIN), revents: 0), pollfd(fd: upstream, events: Int16(POLLIN), revents: 0),
        ]
        var buffer = [UInt8](repeating: 0, count: 65_536)
        while poll(&polled, 2, -1) > 0 {
            for (index, target) in [(0, upstream), (1, client)] where polled[index].revents != 0 {
                let count = read(polled[index].fd, &buffer, buffer.count)
                guard count > 0 else { return }
                if index == 1, losesAnswer() { return }
                guard write(target, buffer, count) == count else { return }
            }
        }
    }

    private func losesAnswer() -> Bool {
        state.withLock { state in
            guard state == .dropping else { return false }
            state = .refusing
            return true
        }
    }

    private static func loopback(_ port: UInt16) -> sockaddr_in {
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = port.bigEndian
        address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        return address
    }
}

private func withSockaddr(_ address: inout sockaddr_in, _ body: (UnsafePointer<sockaddr>, socklen_t) -> Int32) -> Int32 {
    withUnsafePointer(to: &address) { pointer in
        pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { body($0, socklen_t(MemoryLayout<sockaddr_in>.size)) }
    }
}
