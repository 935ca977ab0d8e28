import Crypto
import Foundation
import QueueEngine
import QueueService
import Telemetry

/// What instances tell each other, as bytes. Version 3:
///
///     version (1 byte) · code (16) · sender (16) · body
///
/// The code is HMAC-SHA256 over all the rest, cut to 16 bytes, with a secret of the store: whoever can write to the
/// channel and does not serve the store cannot make anybody believe anything. Numbers in the body are varints (LEB128).
///
/// Versions 1 and 2 are read, too. Version 1 does not say when the event before its first one was; neither says when the visitors
/// of a `connected` came.
struct BusCodec: Sendable {
    enum Content: Equatable {
        /// The number of an instance's sign of life to itself.
        case heartbeat(UInt64)
        case messages([BusMessage])
    }

    static let version: UInt8 = 3
    private static let readable: ClosedRange<UInt8> = 1...3
    /// Bytes of one message. What does not fit is told by the head of its log alone.
    static let limit = 65_536
    private static let codeBytes = 16
    private static let headBytes = 1 + codeBytes + 16

    private let key: SymmetricKey

    init(secret: [UInt8]) { key = SymmetricKey(data: secret) }

    // MARK: Writing

    func encode(_ content: Content, from sender: InstanceID) -> [UInt8] {
        var body = ByteWriter()
        switch content {
        case .heartbeat(let number):
            body.byte(0)
            body.number(number)
        case .messages(let messages):
            body.byte(1)
            body.number(UInt64(messages.count))
            for message in messages { body.message(message) }
        }
        return sign(body: body.bytes, from: sender)
    }

    func sign(body: [UInt8], from sender: InstanceID) -> [UInt8] {
        let code = code(of: [BusCodec.version] + sender.bytes + body)
        return [BusCodec.version] + code + sender.bytes + body
    }

    private func code(of signed: [UInt8]) -> some Sequence<UInt8> {
        HMAC<SHA256>.authenticationCode(for: signed, using: key).prefix(BusCodec.codeBytes)
    }

    /// Several where one would be too long.
    func encode(_ messages: [BusMessage], from sender: InstanceID) -> [[UInt8]] {
        let bytes = encode(.messages(messages), from: sender)
        if bytes.count <= BusCodec.limit { return [bytes] }
        guard messages.count > 1 else { return [encode(.messages(messages.map(\.headOnly)), from: sender)] }
        let half = messages.count / 2
        return encode(Array(messages[..<half]), from: sender) + encode(Array(messages[half...]), from: sender)
    }

    // MARK: Reading

    func decode(_ bytes: [UInt8]) throws(BusRefusal) -> (sender: InstanceID, content: Content) {
        var (sender, body) = try open(bytes)
        let content = try body.content()
        guard body.isAtEnd else { throw .malformed }
        return (sender, content)
    }

    /// What somebody with the secret has signed.
    func open(_ bytes: [UInt8]) throws(BusRefusal) -> (sender: InstanceID, body: ByteReader) {
        guard let version = bytes.first, BusCodec.readable.contains(version) else { throw .version }
        guard bytes.count <= BusCodec.limit, bytes.count > BusCodec.headBytes else { throw .size }
        let code = bytes[1..<1 + BusCodec.codeBytes]
        let signed = [version] + bytes[(1 + BusCodec.codeBytes)...]
        let truth = self.code(of: signed)
        // In a time that does not depend on where they differ.
        guard zip(code, truth).reduce(0, { $0 | ($1.0 ^ $1.1) }) == 0 else { throw .forged }
        guard let sender = InstanceID(bytes: bytes[1 + BusCodec.codeBytes..<BusCodec.headBytes]) else { throw .malformed }
        return (sender, ByteReader(bytes[BusCodec.headBytes...], version: version))
    }
}

extension BusMessage {
    /// Tells that there is something new, and not what.
    var headOnly: BusMessage { BusMessage(queue: queue, epoch: epoch, head: head, previous: nil, events: []) }
}
