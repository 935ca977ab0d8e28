/// Looks at what a client says of the length of its hello, as the bytes come: OpenSSL makes room for a message as soon as it is
/// announced, 128 kB for a hello (RFC 8446 §4). There is a second one where the first was answered with a HelloRetryRequest (§4.1.4).
///
/// Records cut messages anywhere (§5.1), and reads cut records. Records of other kinds may stand between them; OpenSSL ignores some.
/// What breaks the protocol is for OpenSSL to refuse.
struct HelloCheck {
    /// Bytes of a hello; clients' are some hundred, or two thousand with post-quantum key shares.
    private static let longest = 16_384

    /// ContentType (§5.1) and HandshakeType (§4).
    private static let handshake: UInt64 = 22
    private static let clientHello: UInt64 = 1

    /// The head of a record, or of a message: its bytes that have come, as a number.
    private struct Head {
        var value: UInt64 = 0
        var count = 0

        mutating func append(_ byte: UInt8) {
            value = value << 8 | UInt64(byte)
            count += 1
        }
    }

    private var record = Head()
    private var recordRest = 0
    private var message = Head()
    private var messageRest = 0
    private var isHandshake = false

    /// False: a hello that is too long has been announced.
    mutating func accepts(_ bytes: UnsafeRawBufferPointer) -> Bool {
        for byte in bytes {
            guard recordRest > 0 else {
                readRecord(byte)
                continue
            }
            recordRest -= 1
            if isHandshake, !readMessage(byte) { return false }
        }
        return true
    }

    private mutating func readRecord(_ byte: UInt8) {
        record.append(byte)
        guard record.count == 5 else { return }
        isHandshake = record.value >> 32 == HelloCheck.handshake
        recordRest = Int(record.value & 0xFFFF)
        record = Head()
    }

    private mutating func readMessage(_ byte: UInt8) -> Bool {
        guard messageRest == 0 else {
            messageRest -= 1
            return true
        }
        message.append(byte)
        guard message.count == 4 else { return true }
        let (type, length) = (message.value >> 24, Int(message.value & 0xFF_FFFF))
        message = Head()
        messageRest = length
        return type != HelloCheck.clientHello || length <= HelloCheck.longest
    }
}
