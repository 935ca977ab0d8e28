import CLinux
import COpenSSL
import Glibc

/// Between OpenSSL and the sockets of a loop. One a loop: each call says on which socket it is.
final class TLSTransport {
    let bio: OpaquePointer
    /// The socket of the call that is under way.
    fileprivate var descriptor: Int32 = -1
    /// The last read has emptied the socket, so the next one need not ask: what comes later is reported anew.
    fileprivate var isEmpty = false
    /// Where the call under way goes on with a handshake.
    var hello: HelloCheck?
    /// Bytes that the call under way may read from the socket; beyond that it fails.
    var allowance = Int.max
    /// Bytes that the call under way has read from the socket.
    fileprivate(set) var received = 0

    init() {
        bio = BIO_new(TLSTransport.method)
        BIO_set_data(bio, Unmanaged.passUnretained(self).toOpaque())
        BIO_set_init(bio, 1)
    }

    deinit { BIO_free(bio) }

    /// Makes `number` the socket of the calls that follow.
    func use(_ number: Int32) {
        descriptor = number
        isEmpty = false
        received = 0
        ERR_clear_error()
    }

    /// Lets the socket be asked once more; false where it was asked and had nothing.
    func ask() -> Bool {
        defer { isEmpty = false }
        return isEmpty
    }

    /// Never a SIGPIPE, and no system call that must come back empty.
    // Unsafe only for the compiler: it is made once and never changed.
    private nonisolated(unsafe) static let method: OpaquePointer = {
        let method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "loop")!
        BIO_meth_set_write(method) { bio, bytes, count in
            let transport = TLSTransport.of(bio)
            BIO_clear_flags(bio, TLSTransport.retryFlags)
            let sent = clinux_send(transport.descriptor, bytes, Int(count))
            if TLSTransport.isTransient(sent) { BIO_set_flags(bio, BIO_FLAGS_WRITE | BIO_FLAGS_SHOULD_RETRY) }
            return Int32(max(-1, sent))
        }
        BIO_meth_set_read(method) { bio, bytes, count in
            let transport = TLSTransport.of(bio)
            BIO_clear_flags(bio, TLSTransport.retryFlags)
            if transport.isEmpty {
                BIO_set_flags(bio, BIO_FLAGS_READ | BIO_FLAGS_SHOULD_RETRY)
                return -1
            }
            guard transport.received < transport.allowance else { return -1 }
            let wanted = min(Int(count), transport.allowance - transport.received)
            let received = clinux_receive(transport.descriptor, bytes, wanted)
            if TLSTransport.isTransient(received) { BIO_set_flags(bio, BIO_FLAGS_READ | BIO_FLAGS_SHOULD_RETRY) }
            transport.received += max(0, received)
            transport.isEmpty = received > 0 && received < wanted
            let isRefused = received > 0 && transport.hello?.accepts(UnsafeRawBufferPointer(start: bytes, count: received)) == false
            return isRefused ? -1 : Int32(max(-1, received))
        }
        BIO_meth_set_ctrl(method) { _, command, _, _ in command == BIO_CTRL_FLUSH ? 1 : 0 }
        return method
    }()

    private static func isTransient(_ result: Int) -> Bool { result == -Int(EAGAIN) || result == -Int(EINTR) }

    private static let retryFlags = BIO_FLAGS_READ | BIO_FLAGS_WRITE | BIO_FLAGS_IO_SPECIAL | BIO_FLAGS_SHOULD_RETRY

    private static func of(_ bio: OpaquePointer?) -> TLSTransport {
        Unmanaged<TLSTransport>.fromOpaque(BIO_get_data(bio)!).takeUnretainedValue()
    }
}
