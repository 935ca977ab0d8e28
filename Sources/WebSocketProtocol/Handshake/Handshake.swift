import COpenSSL

/// Why an opening handshake is refused (RFC 6455 §4.2.1), with the HTTP status to answer.
public enum HandshakeRefusal: Error, Sendable, Equatable {
    /// Not GET: 405.
    case method
    /// No `Upgrade: websocket` with `Connection: Upgrade`: 426, naming what is wanted.
    case notAnUpgrade
    /// `Sec-WebSocket-Version` is not 13: 426 with `Sec-WebSocket-Version: 13` (RFC 6455 §4.4).
    case version
    /// `Sec-WebSocket-Key` is missing, doubled, or not 16 bytes in base64: 400.
    case key
    /// The client offered subprotocols, and none of them is spoken here: 400.
    case subprotocol

    public var status: Int {
        switch self {
        case .method: 405
        case .notAnUpgrade, .version: 426
        case .key, .subprotocol: 400
        }
    }
}

/// The opening handshake (RFC 6455 §4), without I/O and without a view on how header fields are kept.
public enum Handshake {
    /// What the server answers with, beside status 101, `Upgrade` and `Connection`.
    public struct Answer: Sendable, Equatable {
        /// `Sec-WebSocket-Accept`.
        public let accept: String
        /// `Sec-WebSocket-Protocol`, where the client asked for one.
        public let subprotocol: String?
        /// `Sec-WebSocket-Extensions`, where the client offered what is spoken here.
        public let deflate: DeflateParameters?
    }

    /// Checks a client's request.
    ///
    /// - Parameters:
    ///   - values: all values of the fields with that name, in order; names are case-insensitive.
    ///   - supported: subprotocols that are spoken here; the first one that the client offers is chosen. A client that
    ///     offers none is accepted without one.
    ///   - deflate: how messages may be compressed; nil: not at all. Extensions that are not known here are declined.
    public static func answer(
        method: String, supported: [String], deflate: DeflatePolicy? = nil, values: (String) -> [String]
    ) throws(HandshakeRefusal) -> Answer {
        guard method == "GET" else { throw .method }
        guard tokens(values("Upgrade")).contains("websocket"), tokens(values("Connection")).contains("upgrade") else {
            throw .notAnUpgrade
        }
        guard values("Sec-WebSocket-Version") == ["13"] else { throw .version }
        let keys = values("Sec-WebSocket-Key")
        guard keys.count == 1, isKey(keys[0]) else { throw .key }
        let offered = values("Sec-WebSocket-Protocol").flatMap { $0.split(separator: ",") }.map(trimmed)
        let chosen = offered.first(where: supported.contains)
        guard chosen != nil || offered.isEmpty || supported.isEmpty else { throw .subprotocol }
        return Answer(
            accept: accept(key: keys[0]), subprotocol: chosen, deflate: deflate?.accept(values("Sec-WebSocket-Extensions")))
    }

    /// `Sec-WebSocket-Key` from 16 random bytes (RFC 6455 §4.1).
    public static func key(_ random: [UInt8]) -> String {
        precondition(random.count == 16)
        return base64(random)
    }

    /// What a server proves with that it has read the key (RFC 6455 §4.2.2, step 5.4).
    public static func accept(key: String) -> String {
        let text = Array((key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").utf8)
        var digest = [UInt8](repeating: 0, count: 20)
        SHA1(text, text.count, &digest)
        return base64(digest)
    }

    /// 24 characters that are 16 bytes: 22 of the alphabet, the last with its low four bits zero, and two `=`.
    private static func isKey(_ key: String) -> Bool {
        let bytes = Array(key.utf8)
        guard bytes.count == 24, bytes[22] == 0x3D, bytes[23] == 0x3D else { return false }
        guard bytes[..<22].allSatisfy({ alphabet.contains($0) }) else { return false }
        return alphabet.firstIndex(of: bytes[21])! & 0x0F == 0
    }

    private static func tokens(_ values: [String]) -> [String] {
        values.flatMap { $0.split(separator: ",") }.map { trimmed($0).lowercased() }
    }

    private static func trimmed(_ text: Substring) -> String {
        String(text.drop { $0 == " " || $0 == "\t" }.reversed().drop { $0 == " " || $0 == "\t" }.reversed())
    }

    private static let alphabet = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/".utf8)

    private static func base64(_ bytes: [UInt8]) -> String {
        var text: [UInt8] = []
        for start in stride(from: 0, to: bytes.count, by: 3) {
            let group = bytes[start..<min(start + 3, bytes.count)]
            var bits = group.reduce(UInt32(0)) { $0 << 8 | UInt32($1) } << UInt32(8 * (3 - group.count))
            var four: [UInt8] = []
            for _ in 0..<4 {
                four.insert(alphabet[Int(bits & 0x3F)], at: 0)
                bits >>= 6
            }
            for index in 0..<4 { text.append(index <= group.count ? four[index] : 0x3D) }
        }
        return String(decoding: text, as: UTF8.self)
    }
}
