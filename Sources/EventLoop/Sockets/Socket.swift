import CLinux
import Glibc

/// The socket calls, each non-blocking, each with its errors as values.
enum Socket {
    static func make(for address: SocketAddress) throws(SystemError) -> Descriptor {
        let number = Glibc.socket(address.family, Int32(SOCK_STREAM.rawValue) | nonBlocking, 0)
        guard number >= 0 else { throw .last("socket") }
        return Descriptor(owning: number)
    }

    /// A listener that shares its port with the other loops' listeners: the kernel spreads connections over them.
    static func listen(
        on address: SocketAddress, backlog: Int32, sendBuffer: Int32?, receiveBuffer: Int32?
    ) throws(SystemError) -> Descriptor {
        let socket = try make(for: address)
        setOption(socket.number, SOL_SOCKET, SO_REUSEADDR)
        setOption(socket.number, SOL_SOCKET, SO_REUSEPORT)
        // Inherited by what is accepted (tcp(7)).
        setOption(socket.number, Int32(IPPROTO_TCP), TCP_NODELAY)
        if let sendBuffer { setOption(socket.number, SOL_SOCKET, SO_SNDBUF, sendBuffer) }
        if let receiveBuffer { setOption(socket.number, SOL_SOCKET, SO_RCVBUF, receiveBuffer) }
        let bound = address.withSystemAddress { Glibc.bind(socket.number, $0, $1) }
        guard bound == 0 else { throw .last("bind") }
        guard Glibc.listen(socket.number, backlog) == 0 else { throw .last("listen") }
        return socket
    }

    /// Whether anybody already listens on `address`: SO_REUSEPORT would silently share a port with a second server.
    static func isTaken(_ address: SocketAddress) throws(SystemError) -> Bool {
        guard address.port != 0 else { return false }
        let socket = try make(for: address)
        setOption(socket.number, SOL_SOCKET, SO_REUSEADDR)
        let bound = address.withSystemAddress { Glibc.bind(socket.number, $0, $1) }
        if bound == 0 { return false }
        guard errno == EADDRINUSE else { throw .last("bind") }
        return true
    }

    /// Begins a connection; it is established when the descriptor becomes writable.
    static func connect(to address: SocketAddress, from source: SocketAddress?, receiveBuffer: Int32?) throws(SystemError) -> Descriptor {
        let socket = try make(for: address)
        if let receiveBuffer { setOption(socket.number, SOL_SOCKET, SO_RCVBUF, receiveBuffer) }
        setOption(socket.number, Int32(IPPROTO_TCP), TCP_NODELAY)
        if let source {
            // The port is chosen at connect time, so one source address serves 28,000 connections to each target.
            let bindAddressNoPort: Int32 = 24  // IP_BIND_ADDRESS_NO_PORT, which Glibc does not show.
            setOption(socket.number, Int32(IPPROTO_IP), bindAddressNoPort)
            let bound = source.withSystemAddress { Glibc.bind(socket.number, $0, $1) }
            guard bound == 0 else { throw .last("bind") }
        }
        let connected = address.withSystemAddress { Glibc.connect(socket.number, $0, $1) }
        guard connected == 0 || errno == EINPROGRESS else { throw .last("connect") }
        return socket
    }

    static func localAddress(_ number: Int32) -> SocketAddress? {
        SocketAddress { getsockname(number, $0, $1) }
    }

    /// The error that ended a connection or an attempt at one; 0: none.
    static func pendingError(_ number: Int32) -> Int32 {
        var code: Int32 = 0
        var length = socklen_t(MemoryLayout<Int32>.size)
        getsockopt(number, SOL_SOCKET, SO_ERROR, &code, &length)
        return code
    }

    /// Whether the kernel holds bytes, or a FIN, that the peer has not acknowledged (tcp(7), SIOCOUTQ).
    static func holdsUnacknowledged(_ number: Int32) -> Bool { unacknowledged(number) > 0 }
    static func unacknowledged(_ number: Int32) -> Int32 { clinux_unacknowledged(number) }

    /// Bytes that the peer has acknowledged (tcp(7), TCP_INFO).
    static func acknowledged(_ number: Int32) -> UInt64 { clinux_acknowledged(number) }

    /// The socket says RST when it is closed, and drops what it holds (socket(7), SO_LINGER).
    static func resetWhenClosed(_ number: Int32) {
        var linger = Glibc.linger(l_onoff: 1, l_linger: 0)
        setsockopt(number, SOL_SOCKET, SO_LINGER, &linger, socklen_t(MemoryLayout<Glibc.linger>.size))
    }

    static func setOption(_ number: Int32, _ level: Int32, _ name: Int32, _ value: Int32 = 1) {
        var value = value
        setsockopt(number, level, name, &value, socklen_t(MemoryLayout<Int32>.size))
    }

    private static let nonBlocking = Int32(SOCK_NONBLOCK.rawValue) | Int32(SOCK_CLOEXEC.rawValue)
}
