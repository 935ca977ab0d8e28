import EventLoop
import HTTPTypes
import WebSocketProtocol

extension Handshake.Answer {
    /// The 101 that makes the connection a WebSocket (RFC 6455 §4.2.2).
    var response: [UInt8] {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(256)
        bytes.append(literal: "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ")
        bytes.append(contentsOf: accept.utf8)
        if let subprotocol {
            bytes.append(literal: "\r\nSec-WebSocket-Protocol: ")
            bytes.append(contentsOf: subprotocol.utf8)
        }
        if let deflate {
            bytes.append(literal: "\r\nSec-WebSocket-Extensions: ")
            bytes.append(contentsOf: deflate.header.utf8)
        }
        bytes.append(literal: "\r\n\r\n")
        return bytes
    }
}

extension HTTPFields {
    /// What a handshake asks of a request.
    func handshakeValues(_ field: Handshake.Field) -> [String] {
        switch field {
        case .upgrade: self[values: .upgrade]
        case .connection: self[values: .connection]
        case .version: self[values: .secWebSocketVersion]
        case .key: self[values: HTTPField.Name.secWebSocketKey]
        case .subprotocol: self[values: HTTPField.Name.secWebSocketProtocol]
        case .extensions: self[values: HTTPField.Name.secWebSocketExtensions]
        }
    }
}

extension HTTPField.Name {
    static let secWebSocketVersion = HTTPField.Name("Sec-WebSocket-Version")!
    static let secWebSocketKey = HTTPField.Name("Sec-WebSocket-Key")!
    static let secWebSocketProtocol = HTTPField.Name("Sec-WebSocket-Protocol")!
    static let secWebSocketExtensions = HTTPField.Name("Sec-WebSocket-Extensions")!
}

extension Connection {
    /// Ends with the last event of a WebSocket: the server closes first (RFC 6455 §7.1.1). Behind its close frame a
    /// peer sends nothing; one that broke a rule may still be sending.
    func end(_ reply: [UInt8]?, _ error: WebSocketError?) {
        if let reply { sendLast(reply) }
        if error == nil { finish() } else { closeWhenSent() }
    }
}
