import EventLoop
import Foundation
import QueueEngine
import QueueService

@testable import Fanout
@testable import HTTPProtocol
@testable import Server
@testable import WebSocketProtocol

/// Requests and responses, of every split.
func fuzzHTTP(_ bytes: [UInt8]) {
    requireSame(bytes) { pieces in
        var parser = RequestParser(limits: HTTPLimits(line: 200, head: 2_000, fields: 20, body: 1_000))
        var found: [String] = []
        for piece in pieces {
            parser.receive(piece.span.bytes)
            do {
                while true {
                    let event = try parser.next()
                    if case .needsMore = event { break }
                    // Whether leave to send is still owed depends on what has come, and nothing else does.
                    if case .expectsContinue = event { continue }
                    found.append("\(event)")
                }
            } catch {
                found.append("\(error)")
                break
            }
        }
        return found
    }
    requireSame(bytes) { pieces in
        var parser = ResponseParser(answering: .get)
        var found: [String] = []
        for piece in pieces {
            parser.receive(piece.span.bytes)
            do {
                while let response = try parser.next() { found.append("\(response)") }
            } catch {
                found.append("\(error)")
                break
            }
        }
        return found
    }
}

/// Frames, for both roles, with and without compression.
func fuzzWebSocket(_ bytes: [UInt8]) {
    guard let first = bytes.first else { return }
    let role: Role = first & 1 == 0 ? .server : .client
    requireSame(Array(bytes.dropFirst())) { pieces in
        var parameters = DeflateParameters()
        parameters.serverNoContextTakeover = first & 4 == 0
        parameters.clientNoContextTakeover = first & 4 == 0
        let deflate = first & 2 == 0 ? nil : PermessageDeflate(parameters, role: role)
        var socket = WebSocket(role: role, messageLimit: 2_000, deflate: deflate)
        var found: [String] = []
        for var piece in pieces {
            piece.withUnsafeMutableBytes { raw in
                var span = MutableRawSpan(_unsafeBytes: raw)
                var position = 0
                while let event = socket.next(&span, &position) { found.append(describe(event, span)) }
            }
        }
        return found
    }
}

private func describe(_ event: WebSocket.Event, _ span: borrowing MutableRawSpan) -> String {
    switch event {
    case .message(let payload, let isText):
        let bytes = payload.withUnsafeBytes(in: span) { Array($0) }
        require(bytes.count <= 2_000, "a message over the limit")
        // The second opinion on UTF-8 is the standard library's.
        if isText { require(String(validating: bytes, as: UTF8.self) != nil, "a text that is none") }
        return "\(isText) \(bytes)"
    case .ping(let pong): return "ping \(pong)"
    case .pong: return "pong"
    case .ended(let code, let reply, _): return "\(code) \(reply ?? [])"
    }
}

/// Compressed data from a stranger, and our own back again.
func fuzzInflate(_ bytes: [UInt8]) {
    let deflate = PermessageDeflate(DeflateParameters(), role: .server, minimumBytes: 0)
    var halves = bytes.split(separator: 0xFF, maxSplits: 1, omittingEmptySubsequences: false).map(Array.init)
    for half in halves {
        if let message = try? half.withUnsafeBytes({ raw throws(WebSocketError) in try deflate.inflate(raw, limit: 5_000) }) {
            require(message.count <= 5_000, "more than the limit")
        }
    }
    halves.append(bytes)
    var parameters = DeflateParameters()
    parameters.serverMaxWindowBits = 8 + (bytes.first ?? 0) & 7
    let (ours, theirs) = (PermessageDeflate(parameters, minimumBytes: 0), PermessageDeflate(parameters, role: .client))
    for message in halves {
        var encoder = FrameEncoder()
        encoder.payload.append(contentsOf: message)
        var frame = encoder.finished(.binary, deflate: ours)
        var socket = WebSocket(role: .client, messageLimit: 1 << 20, deflate: theirs)
        frame.withUnsafeMutableBytes { raw in
            var span = MutableRawSpan(_unsafeBytes: raw)
            var position = 0
            guard case .message(let payload, _) = socket.next(&span, &position) else { fatalError("what was compressed is no message") }
            require(payload.withUnsafeBytes(in: span) { Array($0) } == message, "what was compressed comes back as something else")
        }
    }
}

/// Messages and bodies.
func fuzzJSON(_ bytes: [UInt8]) {
    do throws(Problem) {
        var fields = try Fields(bytes)
        _ = try? fields.requiredString("type")
        _ = try? fields.string("user", max: 128)
        _ = try? fields.objectText("metadata", max: 2_048)
        _ = try? fields.boolean("hidden")
        _ = try? fields.finish(known: "type, user, metadata, hidden")
    } catch {
        // An answer names what is wrong in text that is JSON itself.
        require((try? JSONSerialization.jsonObject(with: Data(error.response.body))) != nil, "an answer that is no JSON")
    }
}

/// Session tokens: nothing but what was made here is read.
func fuzzToken(_ bytes: [UInt8]) {
    let tokens = SessionTokens([
        StoredSecret(id: "1", purpose: SessionTokens.purpose, value: Array(repeating: 7, count: 32), createdAt: Timestamp(seconds: 1))
    ])
    require(tokens.read(String(decoding: bytes, as: UTF8.self), at: Timestamp(seconds: 2)) == nil, "a forged token")
    require(tokens.read(SessionTokens.prefix + String(decoding: bytes, as: UTF8.self), at: Timestamp(seconds: 2)) == nil, "a forged token")
}

/// PROXY headers, addresses and what proxies say of them.
func fuzzProxy(_ bytes: [UInt8]) {
    bytes.withUnsafeBytes { raw in
        let whole = ProxyHeader.parse(raw)
        if case .header(_, let length) = whole {
            require(length <= raw.count, "a header that is longer than what came")
            // What is known from fewer bytes stays so, and no fewer bytes are taken for a whole header.
            for count in 0..<length {
                require(ProxyHeader.parse(UnsafeRawBufferPointer(rebasing: raw[..<count])) == .incomplete, "half a header")
            }
            require(ProxyHeader.parse(UnsafeRawBufferPointer(rebasing: raw[..<length])) == whole, "what follows changes a header")
        }
    }
    let text = String(decoding: bytes, as: UTF8.self)
    if let address = SocketAddress(text) {
        require(SocketAddress(address.description) == address, "an address that is not read back: \(text)")
    }
    _ = Network(text)
    _ = DeflatePolicy().accept([text])
}

/// What instances tell each other, and keep for each other: unsigned nothing is taken, and what is signed comes back.
func fuzzBus(_ bytes: [UInt8]) {
    let codec = BusCodec(secret: Array(repeating: 7, count: 32))
    let instance = InstanceID(high: 1, low: 2)
    require((try? codec.decode(bytes)) == nil, "a forged message")
    if let (_, content) = try? codec.decode(codec.sign(body: bytes, from: instance)) {
        let again = try? codec.decode(codec.encode(content, from: instance))
        require(again?.content == content, "a message comes back as another one")
    }
    let cache = CacheCodec(signer: codec, instance: instance)
    let queue = QueueID(high: 1, low: 2)
    for subject in [CacheKey.Subject.page(1), .averageWait(1)] {
        let key = CacheKey(queue: queue, epoch: 1, subject: subject)
        require((try? cache.decode(bytes, for: key)) == nil, "a forged value")
        let name: [UInt8] = queue.bytes + [1, subject == .page(1) ? 2 : 3, 1]
        guard let value = try? cache.decode(codec.sign(body: name + bytes, from: instance), for: key) else { continue }
        guard let encoded = cache.encode(value, for: key) else { continue }
        _ = try? cache.decode(encoded, for: key)
    }
}

/// What a Redis, or somebody in its place, says, of every split.
func fuzzRedis(_ bytes: [UInt8]) {
    requireSame(bytes) { pieces in
        let reader = RedisReader()
        var found: [String] = []
        for piece in pieces {
            do { try read(piece, reader, &found) } catch {
                found.append("broken")
                break
            }
        }
        return found
    }
}

@inline(never)
private func read(_ piece: [UInt8], _ reader: RedisReader, _ found: inout [String]) throws {
    try piece.withUnsafeBytes { try reader.receive($0) }
    while let reply = try reader.next() { found.append("\(reply)") }
}
