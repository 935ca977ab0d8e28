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

    /// The fields that a request is judged by, by their names.
    public enum Field: String, Sendable {
        case upgrade = "Upgrade"
        case connection = "Connection"
        case version = "Sec-WebSocket-Version"
        case key = "Sec-WebSocket-Key"
        case subprotocol = "Sec-WebSocket-Protocol"
        case extensions = "Sec-WebSocket-Extensions"
    }

    /// Checks a client's request.
    ///
    /// - Parameters:
    ///   - values: all values of the fields with that name, in order.
    ///   - supported: subprotocols that are spoken here; the first one that the client offers is chosen. A client that
    ///     offers none is accepted without one.
    ///   - deflate: how messages may be compressed; nil: not at all. Extensions that are not known here are declined.
    public static func answer(
        method: String, supported: [String], deflate: DeflatePolicy? = nil, values: (Field) -> [String]
    ) throws(HandshakeRefusal) -> Answer {
        guard method == "GET" else { throw .method }
        guard FieldList(values(.upgrade)).contains("websocket"), FieldList(values(.connection)).contains("upgrade") else {
            throw .notAnUpgrade
        }
        guard values(.version) == ["13"] else { throw .version }
        let keys = values(.key)
        guard keys.count == 1, isKey(keys[0]) else { throw .key }
        let chosen = try subprotocol(values(.subprotocol), supported)
        return Answer(
            accept: accept(key: keys[0]), subprotocol: chosen, deflate: deflate.flatMap { $0.accept(values(.extensions)) })
    }

    /// The first that the client offers and that is spoken here; none where it offers none, or none is spoken at all.
    private static func subprotocol(_ values: [String], _ supported: [String]) throws(HandshakeRefusal) -> String? {
        var chosen: String?
        var isOffering = false
        _ = FieldList(values).contains { element in
            isOffering = true
            chosen = supported.first { $0.utf8.elementsEqual(element) }
            return chosen != nil
        }
        guard chosen != nil || !isOffering || supported.isEmpty else { throw .subprotocol }
        return chosen
    }

    /// `Sec-WebSocket-Key` from 16 random bytes (RFC 6455 §4.1).
    public static func key(_ random: [UInt8]) -> String {
        precondition(random.count == 16)
        return Base64.encode(random)
    }

    /// What a server proves with that it has read the key (RFC 6455 §4.2.2, step 5.4).
    public static func accept(key: String) -> String {
        let text = Array((key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").utf8)
        var digest = [UInt8](repeating: 0, count: 20)
        precondition(EVP_Digest(text, text.count, &digest, nil, sha1, nil) == 1, "no SHA-1")
        return Base64.encode(digest)
    }

    /// Looked for once: OpenSSL's `SHA1` looks for it at every call. Unsafe only for the compiler: never changed.
    private nonisolated(unsafe) static let sha1 = EVP_MD_fetch(nil, "SHA1", nil)

    /// 24 characters that are 16 bytes: 22 of the alphabet, the last with its low four bits zero, and two `=`.
    private static func isKey(_ key: String) -> Bool {
        let bytes = key.utf8
        guard bytes.count == 24, bytes.suffix(2).allSatisfy({ $0 == 0x3D }) else { return false }
        var last: UInt8?
        for byte in bytes.prefix(22) {
            last = Base64.value(byte)
            if last == nil { return false }
        }
        return last! & 0x0F == 0
    }
}
