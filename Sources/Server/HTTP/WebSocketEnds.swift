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

extension Handshake.Fields {
    init(_ fields: HTTPFields) {
        self.init()
        for field in fields { add(field.name.canonicalName, field.value) }
    }
}

extension Connection {
    /// Ends with the last event of a WebSocket: the server closes first (RFC 6455 §7.1.1). Behind its close frame a
    /// peer sends nothing; one that broke a rule may still be sending.
    func end(_ reply: [UInt8]?, _ error: WebSocketError?) {
        if let reply { sendLast(reply) }
        if error == nil { finish() } else { closeWhenSent() }
    }
}
