import WebSocketProtocol

extension Handshake.Answer {
    /// The 101 that makes the connection a WebSocket (RFC 6455 §4.2.2).
    var response: [UInt8] {
        var text = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: \(accept)\r\n"
        if let subprotocol { text += "Sec-WebSocket-Protocol: \(subprotocol)\r\n" }
        if let deflate { text += "Sec-WebSocket-Extensions: \(deflate.header)\r\n" }
        return Array((text + "\r\n").utf8)
    }
}
