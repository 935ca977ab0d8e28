import COpenSSL
import Glibc
import Locks

/// The keys of session tickets (RFC 5077 §4, RFC 8446 §4.6.1): a new one for each period, and each is good for reading
/// for one period more. Whoever steals a key can read the sessions of two periods and no others.
public final class TLSTicketKeys: Sendable {
    fileprivate struct Key {
        let name: [UInt8]
        let cipher: [UInt8]
        let mac: [UInt8]
        let madeAt: UInt64

        init(at now: UInt64) {
            func random(_ count: Int) -> [UInt8] {
                var bytes = [UInt8](repeating: 0, count: count)
                precondition(RAND_bytes(&bytes, Int32(count)) == 1, "no randomness")
                return bytes
            }
            (name, cipher, mac, madeAt) = (random(16), random(32), random(32), now)
        }
    }

    private let keys = Lock<[Key]>([])
    private let period: UInt64

    /// - Parameter rotationSeconds: a key makes tickets for so long.
    public init(rotationSeconds: UInt32 = 12 * 3_600) { period = UInt64(rotationSeconds) * 1_000_000_000 }

    private func newest(at now: UInt64) -> Key {
        keys.withLock { keys in
            keys.removeAll { now - $0.madeAt >= 2 * period }
            if let newest = keys.last, now - newest.madeAt < period { return newest }
            keys.append(Key(at: now))
            return keys.last!
        }
    }

    private func find(_ name: UnsafeBufferPointer<UInt8>, at now: UInt64) -> (key: Key, isOld: Bool)? {
        keys.withLock { keys in
            guard let key = keys.first(where: { $0.name.elementsEqual(name) }), now - key.madeAt < 2 * period else { return nil }
            return (key, now - key.madeAt >= period)
        }
    }

    /// Lets `context` make and read its tickets with these keys. They must outlive it.
    func attach(to context: OpaquePointer) {
        _ = copenssl_set_app_data(context, Unmanaged.passUnretained(self).toOpaque())
        SSL_CTX_set_tlsext_ticket_key_evp_cb(context) { ssl, name, iv, cipher, mac, isMaking in
            let keys = Unmanaged<TLSTicketKeys>.fromOpaque(copenssl_app_data(ssl)!).takeUnretainedValue()
            let now = EventLoop.monotonicNow()
            if isMaking == 1 {
                let key = keys.newest(at: now)
                _ = UnsafeMutableBufferPointer(start: name, count: 16).update(fromContentsOf: key.name)
                guard RAND_bytes(iv, 16) == 1, EVP_EncryptInit_ex(cipher, EVP_aes_256_cbc(), nil, key.cipher, iv) == 1 else { return -1 }
                return key.begin(mac) ? 1 : -1
            }
            // An unknown key is no error: the client gets a whole handshake.
            guard let (key, isOld) = keys.find(UnsafeBufferPointer(start: name, count: 16), at: now) else { return 0 }
            guard EVP_DecryptInit_ex(cipher, EVP_aes_256_cbc(), nil, key.cipher, iv) == 1, key.begin(mac) else { return -1 }
            return isOld ? 2 : 1
        }
    }
}

extension TLSTicketKeys.Key {
    /// Sets the key of an HMAC with SHA-256. The parameters only point at what they say, so all of it must live on.
    fileprivate func begin(_ context: OpaquePointer?) -> Bool {
        var key = mac
        return OSSL_MAC_PARAM_KEY.withCString { keyName in
            OSSL_MAC_PARAM_DIGEST.withCString { digestName in
                "SHA256".withCString { digest in
                    key.withUnsafeMutableBytes { key in
                        let parameters = [
                            OSSL_PARAM_construct_octet_string(keyName, key.baseAddress, key.count),
                            OSSL_PARAM_construct_utf8_string(digestName, UnsafeMutablePointer(mutating: digest), 0),
                            OSSL_PARAM_construct_end(),
                        ]
                        return EVP_MAC_CTX_set_params(context, parameters) == 1
                    }
                }
            }
        }
    }
}
