import COpenSSL
import Glibc

/// One TLS connection over a socket that somebody else owns (RFC 8446, RFC 5246).
final class TLSStream {
    enum Received { case bytes(Int), nothing, end, failure }
    enum Handshake { case done, waiting, failed }

    private let ssl: OpaquePointer
    private unowned let transport: TLSTransport
    /// Bytes of the socket since the last ones that were read out of here.
    private var receivedSinceLast = 0
    private var handshakeBytes = 0
    /// Checks the client's hellos; nil where none can follow.
    private var hello: HelloCheck? = HelloCheck()

    init(_ context: TLSContext, transport: TLSTransport) {
        self.transport = transport
        ssl = SSL_new(context.pointer)
        BIO_up_ref(transport.bio)
        SSL_set_bio(ssl, transport.bio, transport.bio)
        SSL_set_accept_state(ssl)
    }

    deinit { SSL_free(ssl) }

    /// Bytes of a handshake: a client's has some two thousand.
    private static let mostHandshakeBytes = 32 * 1024

    /// Goes on with the handshake as far as the bytes that have come allow.
    func handshake(on number: Int32) -> Handshake {
        transport.use(number)
        transport.allowance = TLSStream.mostHandshakeBytes - handshakeBytes
        defer {
            handshakeBytes += transport.received
            transport.allowance = .max
        }
        // TLS 1.2 knows no second hello, and what follows the first one may be encrypted at once.
        if SSL_version(ssl) == TLS1_2_VERSION { hello = nil }
        transport.hello = hello
        defer { (hello, transport.hello) = (transport.hello, nil) }
        let result = SSL_do_handshake(ssl)
        if result == 1 { return .done }
        switch SSL_get_error(ssl, result) {
        case SSL_ERROR_WANT_READ, SSL_ERROR_WANT_WRITE: return .waiting
        default: return .failed
        }
    }

    /// - Parameter toTheEnd: the socket must be asked again when it was emptied: its end has been reported.
    func read(into buffer: UnsafeMutableRawBufferPointer, on number: Int32, toTheEnd: Bool) -> Received {
        transport.use(number)
        defer { receivedSinceLast += transport.received }
        while true {
            let count = SSL_read(ssl, buffer.baseAddress, Int32(clamping: buffer.count))
            if count > 0 { return .bytes(Int(count)) }
            switch SSL_get_error(ssl, count) {
            case SSL_ERROR_WANT_READ:
                guard toTheEnd, transport.ask() else { return .nothing }
            case SSL_ERROR_WANT_WRITE: return .nothing
            case SSL_ERROR_ZERO_RETURN: return copenssl_has_exceeded_messages(ssl) != 0 ? .failure : .end
            // A connection that ends without close_notify was cut off (RFC 8446 §6.1).
            default: return .failure
            }
        }
    }

    /// Bytes of the socket that brought what was read last: records with all that belongs to them.
    func takeReceived() -> Int {
        defer { receivedSinceLast = 0 }
        return receivedSinceLast
    }

    /// The bytes that were taken, or a negative error number. After EAGAIN the same bytes must come first again.
    func write(_ bytes: UnsafeRawBufferPointer, on number: Int32) -> Int {
        transport.use(number)
        let taken = SSL_write(ssl, bytes.baseAddress, Int32(clamping: bytes.count))
        if taken > 0 { return Int(taken) }
        return -Int(SSL_get_error(ssl, taken) == SSL_ERROR_WANT_WRITE ? EAGAIN : EPIPE)
    }

    /// Sends close_notify; false where the kernel has no room for it now.
    func sendClosing(on number: Int32) -> Bool {
        transport.use(number)
        let result = SSL_shutdown(ssl)
        return result >= 0 || SSL_get_error(ssl, result) != SSL_ERROR_WANT_WRITE
    }
}
