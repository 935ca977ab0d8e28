import HTTPTypes

/// The part that both roles share: bytes that have come and are not used, the head in them, and the body behind it.
struct MessageBuffer {
    private(set) var bytes: [UInt8] = []
    /// Bytes at the beginning that are the head of the message whose body is being taken.
    private var headCount = 0
    /// The head of a message whose body did not come with it.
    private var keptHead: [UInt8] = []
    private var scanner = HeadScanner()
    private var hasSkipped = false
    private var chunks = ChunkedDecoder()
    private(set) var body: [UInt8] = []

    /// Whether nothing has come that is not used.
    var isEmpty: Bool { bytes.count == headCount }

    mutating func append(_ span: borrowing RawSpan) {
        bytes.makeRoom(for: span.byteCount)
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
        headCount = end
        scanner = HeadScanner()
        hasSkipped = false
        return head
    }

    /// Keeps the head as it came until the body has: what is read out of it takes several times the room.
    mutating func keepHead() {
        guard headCount > 0 else { return }
        let head = headCount
        headCount = 0
        guard head < bytes.count else { return swap(&keptHead, &bytes) }
        keptHead = Array(bytes[..<head])
        drop(head)
    }

    /// The head that was kept, read once more.
    func readKeptHead(_ limits: HTTPLimits) throws(HTTPRefusal) -> MessageHead { try MessageHead(keptHead.span, limits: limits) }

    /// Moves body bytes out of the buffer; true when the body is complete.
    mutating func takeBody(_ framing: BodyFraming, limit: Int) throws(HTTPRefusal) -> Bool {
        switch framing {
        case .none: return true
        case .length(let length):
            guard length <= limit else { throw .bodyTooLarge }
            if body.isEmpty { body.reserveCapacity(length) }
            let count = min(length - body.count, bytes.count - headCount)
            body.append(contentsOf: bytes[headCount..<headCount + count])
            drop(count)
            return body.count == length
        case .chunked:
            var position = headCount
            let isComplete = try chunks.decode(bytes, &position, into: &body, limit: limit)
            drop(position - headCount)
            return isComplete
        case .untilClose:
            guard body.count + bytes.count - headCount <= limit else { throw .bodyTooLarge }
            body.makeRoom(for: bytes.count - headCount)
            body.append(contentsOf: bytes[headCount...])
            drop(bytes.count - headCount)
            return false
        }
    }

    /// The body, given away; the buffer is ready for the next message.
    mutating func finishMessage() -> [UInt8] {
        defer {
            body = []
            keptHead = []
            chunks = ChunkedDecoder()
        }
        let head = headCount
        headCount = 0
        drop(head)
        return body
    }

    /// Everything that has not been used: what came behind an upgrade.
    mutating func takeRest() -> [UInt8] {
        defer { bytes = [] }
        return bytes
    }

    /// Bytes of room that a buffer may keep though little is in it.
    private static let mostUnused = 1_024

    /// Drops bytes behind the head.
    private mutating func drop(_ count: Int) {
        let left = bytes.count - count
        if left == 0 {
            bytes = []
        } else if headCount == 0, bytes.capacity > 2 * left + MessageBuffer.mostUnused {
            // What is left is waited for by a connection that may do nothing for a while.
            bytes = Array(bytes[count...])
        } else {
            bytes.removeSubrange(headCount..<headCount + count)
        }
    }
}

extension [UInt8] {
    /// Makes room for so many more bytes, and little beyond that while they are few: an array that grows by itself takes twice as much,
    /// and a slow sender would hold it.
    mutating func makeRoom(for count: Int) {
        let needed = self.count + count
        guard needed > capacity else { return }
        reserveCapacity(needed < 16_384 ? (needed + 1_023) / 1_024 * 1_024 : Swift.max(needed, 2 * capacity))
    }
}
