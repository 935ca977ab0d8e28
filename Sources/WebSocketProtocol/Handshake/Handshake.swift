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

    /// The fields that a request is judged by, in order.
    public struct Fields {
        enum Kind { case upgrade, connection, key, version, subprotocol, extensions }

        private(set) var found: [(kind: Kind, value: String)] = []

        public init() { found.reserveCapacity(6) }

        /// Takes note of a field, if it is one of them.
        ///
        /// - Parameter name: in lower case.
        public mutating func add(_ name: String, _ value: String) {
            // No two of them have the same length, and most fields have none of these.
            switch name.utf8.count {
            case 7 where name == "upgrade": found.append((.upgrade, value))
            case 10 where name == "connection": found.append((.connection, value))
            case 17 where name == "sec-websocket-key": found.append((.key, value))
            case 21 where name == "sec-websocket-version": found.append((.version, value))
            case 22 where name == "sec-websocket-protocol": found.append((.subprotocol, value))
            case 24 where name == "sec-websocket-extensions": found.append((.extensions, value))
            default: break
            }
        }

        func values(_ kind: Kind) -> [String] {
            var values: [String] = []
            for field in found where field.kind == kind { values.append(field.value) }
            return values
        }

        /// The value of a field that there is exactly one of.
        func only(_ kind: Kind) -> String? {
            var only: String?
            for field in found where field.kind == kind {
                guard only == nil else { return nil }
                only = field.value
            }
            return only
        }
    }

    /// Checks a client's request.
    ///
    /// - Parameters:
    ///   - supported: subprotocols that are spoken here; the first one that the client offers is chosen. A client that
    ///     offers none is accepted without one.
    ///   - deflate: how messages may be compressed; nil: not at all. Extensions that are not known here are declined.
    public static func answer(
        method: String, fields: Fields, supported: [String], deflate: DeflatePolicy? = nil
    ) throws(HandshakeRefusal) -> Answer {
        guard method == "GET" else { throw .method }
        guard FieldList(fields, .upgrade).contains("websocket"), FieldList(fields, .connection).contains("upgrade") else {
            throw .notAnUpgrade
        }
        guard fields.only(.version) == "13" else { throw .version }
        guard let key = fields.only(.key), isKey(key) else { throw .key }
        let chosen = try subprotocol(FieldList(fields, .subprotocol), supported)
        return Answer(
            accept: accept(key: key), subprotocol: chosen, deflate: deflate.flatMap { $0.accept(fields.values(.extensions)) })
    }

    /// The first that the client offers and that is spoken here; none where it offers none, or none is spoken at all.
    private static func subprotocol(_ offered: FieldList, _ supported: [String]) throws(HandshakeRefusal) -> String? {
        var chosen: String?
        var isOffering = false
        _ = offered.contains { element in
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
        return Base64.encode(random.span)
    }

    /// What a server proves with that it has read the key (RFC 6455 §4.2.2, step 5.4).
    public static func accept(key: String) -> String {
        var text: [UInt8] = []
        text.reserveCapacity(60)
        text.append(contentsOf: key.utf8)
        text.append(contentsOf: "258EAFA5-E914-47DA-95CA-C5AB0DC85B11".utf8)
        var digest = InlineArray<20, UInt8>(repeating: 0)
        var span = digest.mutableSpan
        let isDone = span.withUnsafeMutableBufferPointer { EVP_Digest(text, text.count, $0.baseAddress, nil, sha1, nil) == 1 }
        precondition(isDone, "no SHA-1")
        return Base64.encode(digest.span)
    }

    /// Looked for once: OpenSSL's `SHA1` looks for it at every call. Unsafe only for the compiler: never changed.
    private nonisolated(unsafe) static let sha1 = EVP_MD_fetch(nil, "SHA1", nil)

    /// 24 characters that are 16 bytes: 22 of the alphabet, the last with its low four bits zero, and two `=`.
    private static func isKey(_ key: String) -> Bool {
        let bytes = key.utf8.span
        guard bytes.count == 24, bytes[22] == 0x3D, bytes[23] == 0x3D else { return false }
        for index in 0..<21 where Base64.value(bytes[index]) == nil { return false }
        return Base64.value(bytes[21]).map { $0 & 0x0F == 0 } ?? false
    }
}
