/// What a parser finds, in the order of the bytes. Spans are valid only during the call.
protocol MessageSink {
    func message(_ payload: RawSpan, isText: Bool)
    func control(_ opcode: Opcode, _ payload: RawSpan) throws(WebSocketError)
}

/// Takes a stream of frames apart into whole messages, in place.
///
/// A message that lies whole in the bytes given is handed out from where it lies. Of an unfinished one its own bytes
/// are kept, and nothing else; a parser between messages holds no memory beyond itself.
struct MessageParser {
    private enum Stage {
        case header
        /// Inside a payload: the header, and how many bytes of it have come.
        case payload(FrameHeader, Int)
    }

    private let role: Role
    private let limit: UInt32
    private var stage = Stage.header
    /// A header that was cut in two.
    private var spilled = InlineArray<14, UInt8>(repeating: 0)
    private var spilledCount: UInt8 = 0
    /// What kind of message its fragments belong to; nil between messages.
    private var message: Opcode?
    private var text = UTF8Validator()
    /// The unfinished message's bytes; behind them those of an unfinished control frame.
    private var kept: [UInt8] = []

    /// - Parameter limit: bytes of a message, all its fragments together; checked from the header, before the payload.
    init(role: Role, messageLimit limit: Int) {
        self.role = role
        self.limit = UInt32(clamping: limit)
    }

    mutating func receive(_ bytes: UnsafeMutableRawBufferPointer, into sink: some MessageSink) throws(WebSocketError) {
        var position = 0
        while true {
            switch stage {
            case .header:
                guard let header = try takeHeader(bytes, &position) else { return }
                try check(header)
                stage = .payload(header, 0)
            case .payload(let header, let received):
                let count = min(header.length - received, bytes.count - position)
                let piece = UnsafeMutableRawBufferPointer(rebasing: bytes[position..<position + count])
                position += count
                applyMask(header.mask, to: piece, phase: received)
                let isWhole = received + count == header.length
                stage = isWhole ? .header : .payload(header, received + count)
                if header.opcode.isControl {
                    try takeControl(header, UnsafeRawBufferPointer(piece), received: received, isWhole: isWhole, sink)
                } else {
                    try takeData(header, UnsafeRawBufferPointer(piece), isWhole: isWhole, sink)
                }
                if !isWhole { return }
            }
        }
    }

    // MARK: Headers

    private mutating func takeHeader(_ bytes: UnsafeMutableRawBufferPointer, _ position: inout Int) throws(WebSocketError) -> FrameHeader? {
        if spilledCount == 0, bytes.count - position >= 2 {
            let size = FrameHeader.size(bytes[position + 1])
            if bytes.count - position >= size {
                defer { position += size }
                return try FrameHeader(UnsafeRawBufferPointer(rebasing: bytes[position..<position + size]))
            }
        }
        while position < bytes.count {
            spilled[Int(spilledCount)] = bytes[position]
            spilledCount += 1
            position += 1
            guard spilledCount >= 2, Int(spilledCount) == FrameHeader.size(spilled[1]) else { continue }
            spilledCount = 0
            var whole = spilled
            return try whole.mutableSpan.withUnsafeBytes { raw throws(WebSocketError) in try FrameHeader(raw) }
        }
        return nil
    }

    private mutating func check(_ header: FrameHeader) throws(WebSocketError) {
        // §5.1: a server MUST close upon a frame that is not masked, a client upon one that is.
        guard header.isMasked == (role == .server) else {
            throw WebSocketError(.protocolError, role == .server ? "a frame without a mask" : "a frame with a mask")
        }
        switch header.opcode {
        case .close, .ping, .pong: return
        case .continuation:
            guard message != nil else { throw WebSocketError(.protocolError, "a continuation of nothing") }
        case .text, .binary:
            guard message == nil else { throw WebSocketError(.protocolError, "a new message inside another") }
            message = header.opcode
            text = UTF8Validator()
        }
        guard header.length <= Int(limit) - kept.count else { throw WebSocketError(.messageTooBig, "a message over \(limit) bytes") }
    }

    // MARK: Payloads

    private mutating func takeData(_ header: FrameHeader, _ piece: UnsafeRawBufferPointer, isWhole: Bool, _ sink: some MessageSink)
        throws(WebSocketError)
    {
        let isText = message == .text
        if isText, !text.accept(piece) { throw WebSocketError(.invalidData, "text that is not UTF-8") }
        guard isWhole, header.isFinal else {
            kept.append(contentsOf: piece)
            return
        }
        if isText, !text.isComplete { throw WebSocketError(.invalidData, "text that ends inside a character") }
        message = nil
        if kept.isEmpty { return sink.message(RawSpan(_unsafeBytes: piece), isText: isText) }
        kept.append(contentsOf: piece)
        let whole = kept
        kept = []
        sink.message(whole.span.bytes, isText: isText)
    }

    private mutating func takeControl(
        _ header: FrameHeader, _ piece: UnsafeRawBufferPointer, received: Int, isWhole: Bool, _ sink: some MessageSink
    ) throws(WebSocketError) {
        if received == 0, isWhole { return try sink.control(header.opcode, RawSpan(_unsafeBytes: piece)) }
        kept.append(contentsOf: piece)
        guard isWhole else { return }
        let whole = Array(kept.suffix(header.length))
        kept.removeLast(header.length)
        if kept.isEmpty { kept = [] }
        try sink.control(header.opcode, whole.span.bytes)
    }
}
