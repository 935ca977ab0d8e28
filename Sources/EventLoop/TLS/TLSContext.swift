import COpenSSL
import Glibc

/// Why certificates cannot be used; says which file.
public struct TLSError: Error, Sendable, Equatable, CustomStringConvertible {
    public let description: String
}

/// Certificates and what is spoken with them: TLS 1.2 and 1.3, ALPN `http/1.1`, tickets, no renegotiation.
///
/// A reload makes a new one; connections keep the one they began with.
public final class TLSContext: @unchecked Sendable {
    // Unchecked: an SSL_CTX may be used by several threads, and is not changed once it is made.

    /// The PEM files of one certificate: its chain, leaf first, and its private key.
    public struct Files: Sendable, Hashable {
        public let chain: String
        public let key: String

        public init(chain: String, key: String) {
            self.chain = chain
            self.key = key
        }
    }

    private let contexts: [OpaquePointer]
    /// Held for OpenSSL, which knows it by its address alone.
    private let tickets: TLSTicketKeys

    /// What a connection begins with, until it names a server.
    var pointer: OpaquePointer { contexts[0] }

    /// Reads certificates.
    ///
    /// - Parameters:
    ///   - files: the first is for clients that name no server, or one that none is for.
    ///   - tickets: keys that outlive a reload, so that sessions can be resumed after it.
    /// - Throws: where one cannot be read, does not fit its key, or has expired. Nothing is half taken.
    public init(_ files: [Files], tickets: TLSTicketKeys) throws(TLSError) {
        precondition(!files.isEmpty)
        var made: [OpaquePointer] = []
        do throws(TLSError) {
            for pair in files { made.append(try TLSContext.read(pair)) }
        } catch {
            made.forEach(SSL_CTX_free)
            throw error
        }
        contexts = made
        self.tickets = tickets
        for context in contexts { TLSContext.configure(context, tickets) }
        if contexts.count > 1 { chooseByServerName() }
    }

    deinit { contexts.forEach(SSL_CTX_free) }

    private static func read(_ files: Files) throws(TLSError) -> OpaquePointer {
        for file in [files.chain, files.key] {
            guard access(file, R_OK) == 0 else {
                throw TLSError(description: "\(file) cannot be read: \(String(cString: strerror(errno)))")
            }
        }
        ERR_clear_error()
        let context = SSL_CTX_new(TLS_server_method())!
        func fail(_ what: String) -> TLSError {
            let code = ERR_get_error()
            let reason = ERR_reason_error_string(code).map { ": " + String(cString: $0) } ?? ""
            SSL_CTX_free(context)
            ERR_clear_error()
            return TLSError(description: what + reason)
        }
        guard SSL_CTX_use_certificate_chain_file(context, files.chain) == 1 else {
            throw fail("\(files.chain) is no certificate in PEM")
        }
        guard SSL_CTX_use_PrivateKey_file(context, files.key, SSL_FILETYPE_PEM) == 1 else {
            let isAnothers = ERR_reason_error_string(ERR_peek_last_error()).map { String(cString: $0).contains("mismatch") } ?? false
            throw fail(
                isAnothers
                    ? "\(files.key) is not the private key of \(files.chain)" : "\(files.key) is no private key in PEM without a passphrase"
            )
        }
        guard SSL_CTX_check_private_key(context) == 1 else { throw fail("\(files.key) is not the private key of \(files.chain)") }
        guard X509_cmp_current_time(X509_get0_notAfter(SSL_CTX_get0_certificate(context))) > 0 else {
            throw fail("\(files.chain) has expired")
        }
        return context
    }

    private static func configure(_ context: OpaquePointer, _ tickets: TLSTicketKeys) {
        _ = copenssl_set_min_version(context, TLS1_2_VERSION)
        copenssl_refuse_renegotiation(context)
        copenssl_limit_messages(context)
        // Buffers are given back when they are empty; what could not be written may lie elsewhere the next time.
        _ = copenssl_set_mode(
            context, Int(SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | SSL_MODE_RELEASE_BUFFERS))
        _ = copenssl_set_read_ahead(context, 1)
        // Sessions live in their tickets, not here.
        _ = copenssl_set_session_cache_mode(context, Int(SSL_SESS_CACHE_OFF))
        SSL_CTX_set_session_id_context(context, "stanchion", 9)
        tickets.attach(to: context)
        SSL_CTX_set_alpn_select_cb(context, { _, chosen, length, offered, count, _ in chooseProtocol(chosen, length, offered, count) }, nil)
    }

    /// RFC 6066 §3: the certificate of the name that the client asks for.
    private func chooseByServerName() {
        let this = Unmanaged.passUnretained(self).toOpaque()
        let choose: @convention(c) (OpaquePointer?, UnsafeMutablePointer<Int32>?, UnsafeMutableRawPointer?) -> Int32 = { ssl, _, this in
            guard let name = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name) else { return SSL_TLSEXT_ERR_OK }
            let contexts = Unmanaged<TLSContext>.fromOpaque(this!).takeUnretainedValue().contexts
            if let match = contexts.first(where: { X509_check_host(SSL_CTX_get0_certificate($0), name, 0, 0, nil) == 1 }) {
                SSL_set_SSL_CTX(ssl, match)
            }
            return SSL_TLSEXT_ERR_OK
        }
        _ = copenssl_on_server_name(pointer, choose, this)
    }
}

/// RFC 7301: `http/1.1`, or the alert that nothing that was offered is spoken here.
private func chooseProtocol(
    _ chosen: UnsafeMutablePointer<UnsafePointer<UInt8>?>?, _ length: UnsafeMutablePointer<UInt8>?,
    _ offered: UnsafePointer<UInt8>?, _ count: UInt32
) -> Int32 {
    let offers = UnsafeBufferPointer(start: offered, count: Int(count))
    var index = 0
    while index < offers.count {
        let name = offers[(index + 1)...].prefix(Int(offers[index]))
        if name.elementsEqual("http/1.1".utf8) {
            chosen!.pointee = offered! + index + 1
            length!.pointee = UInt8(name.count)
            return SSL_TLSEXT_ERR_OK
        }
        index += 1 + name.count
    }
    return SSL_TLSEXT_ERR_ALERT_FATAL
}
