import HTTPTypes

/// The part that both roles share: bytes that have come and are not used, the head in them, and the body behind it.
struct MessageBuffer {
    private(set) var bytes: [UInt8] = []
    private var scanner = HeadScanner()
    private var hasSkipped = false
    private var chunks = ChunkedDecoder()
    private(set) var body: [UInt8] = []

    var isEmpty: Bool { bytes.isEmpty }

    mutating func append(_ span: borrowing RawSpan) {
        span.withUnsafeBytes { bytes.append(contentsOf: $0) }
    }

    /// The header section, once it has come whole.
    ///
    /// - Parameter skipping: one empty line in front of it, as some clients send after a body (RFC 9112 §2.2).
    mutating func takeHead(_ limits: HTTPLimits, skippingEmptyLine skipping: Bool = false) throws(HTTPRefusal) -> MessageHead? {
        if skipping, !hasSkipped, bytes.first == 0x0D {
            guard bytes.count >= 2 else { return nil }
            hasSkipped = true
            if bytes[1] == 0x0A { drop(2) }
        }
        guard let end = try scanner.end(in: bytes, limits: limits) else { return nil }
        let head = try MessageHead(bytes.span.extracting(..<end), limits: limits)
        drop(end)
        scanner = HeadScanner()
        hasSkipped = false
        return head
    }

    /// Moves body bytes out of the buffer; true when the body is complete.
    mutating func takeBody(_ framing: BodyFraming, limit: Int) throws(HTTPRefusal) -> Bool {
        switch framing {
        case .none: return true
        case .length(let length):
            guard length <= limit else { throw .bodyTooLarge }
            let count = min(length - body.count, bytes.count)
            body.append(contentsOf: bytes[..<count])
            drop(count)
            return body.count == length
        case .chunked:
            var position = 0
            let isComplete = try chunks.decode(bytes, &position, into: &body, limit: limit)
            drop(position)
            return isComplete
        case .untilClose:
            guard body.count + bytes.count <= limit else { throw .bodyTooLarge }
            body.append(contentsOf: bytes)
            bytes = []
            return false
        }
    }

    /// The body, given away; the buffer is ready for the next message.
    mutating func finishMessage() -> [UInt8] {
        defer {
            body = []
            chunks = ChunkedDecoder()
        }
        return body
    }

    /// Everything that has not been used: what came behind an upgrade.
    mutating func takeRest() -> [UInt8] {
        defer { bytes = [] }
        return bytes
    }

    /// Bytes of room that a buffer may keep though little is in it.
    private static let mostUnused = 4_096

    private mutating func drop(_ count: Int) {
        if count == bytes.count {
            bytes = []
        } else if bytes.capacity > 4 * (bytes.count - count) + MessageBuffer.mostUnused {
            // What is left is waited for by a connection that may do nothing for a while.
            bytes = Array(bytes[count...])
        } else {
            bytes.removeFirst(count)
        }
    }
}
