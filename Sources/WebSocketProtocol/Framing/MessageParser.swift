/// Takes a stream of frames apart into whole messages, in place.
///
/// A frame that lies whole in the bytes given is found where it lies. What is unfinished is kept aside, and only while
/// it is: between messages a parser has no memory beyond itself.
struct MessageParser: ~Copyable {
    /// What a call found, in the order of the bytes.
    enum Found {
        case message(Payload, isText: Bool, isCompressed: Bool)
        case control(Opcode, Payload)
    }

    private var unfinished: Unfinished?
    let limit: UInt32
    let role: Role
    private let allowsCompression: Bool

    /// - Parameters:
    ///   - limit: bytes of a message, all its fragments together; checked from the header, before the payload.
    ///   - allowsCompression: whether permessage-deflate was negotiated.
    init(role: Role, messageLimit limit: Int, allowsCompression: Bool) {
        self.role = role
        self.limit = UInt32(clamping: limit)
        self.allowsCompression = allowsCompression
    }

    /// The next message or control frame that is complete, its payload unmasked; nil when the bytes are used up.
    mutating func next(_ bytes: UnsafeMutableRawBufferPointer, _ position: inout Int) throws(WebSocketError) -> Found? {
        if unfinished == nil {
            if position == bytes.count { return nil }
            if let found = try takeWhole(bytes, &position) { return found }
            unfinished = Unfinished()
        }
        let found = try continueUnfinished(unfinished!, bytes, &position)
        if unfinished!.isEmpty { unfinished = nil }
        return found
    }

    // MARK: What lies whole in one piece

    /// A message of one frame, or a control frame, of which every byte is there; nil otherwise, and nothing is used.
    private func takeWhole(_ bytes: UnsafeMutableRawBufferPointer, _ position: inout Int) throws(WebSocketError) -> Found? {
        guard bytes.count - position >= 2 else { return nil }
        let start = position + FrameHeader.size(bytes[position + 1])
        guard start <= bytes.count else { return nil }
        let header = try FrameHeader(UnsafeRawBufferPointer(rebasing: bytes[position..<start]))
        guard header.isFinal, header.length <= bytes.count - start else { return nil }
        try check(header, within: nil)
        let range = start..<start + header.length
        position = range.upperBound
        let piece = UnsafeMutableRawBufferPointer(rebasing: bytes[range])
        applyMask(header.mask, to: piece, phase: 0)
        if header.opcode.isControl { return .control(header.opcode, .received(range)) }
        if header.opcode == .text, !header.isCompressed {
            var text = UTF8Validator()
            guard text.accept(UnsafeRawBufferPointer(piece)) else { throw .notText }
            guard text.isComplete else { throw .textEndsInside }
        }
        return .message(.received(range), isText: header.opcode == .text, isCompressed: header.isCompressed)
    }

    /// - Parameter message: the message whose fragments are coming; nil between messages.
    private func check(_ header: FrameHeader, within message: Unfinished.Message?) throws(WebSocketError) {
        // §5.1: a server MUST close upon a frame that is not masked, a client upon one that is.
        guard header.isMasked == (role == .server) else {
            throw WebSocketError(.protocolError, role == .server ? "a frame without a mask" : "a frame with a mask")
        }
        // RFC 7692 §6: only on the first frame of a message, and only where it was negotiated.
        guard !header.isCompressed || (allowsCompression && (header.opcode == .text || header.opcode == .binary)) else {
            throw WebSocketError(.protocolError, "a reserved bit is set")
        }
        switch header.opcode {
        case .close, .ping, .pong: return
        case .continuation:
            guard message != nil else { throw WebSocketError(.protocolError, "a continuation of nothing") }
        case .text, .binary:
            guard message == nil else { throw WebSocketError(.protocolError, "a new message inside another") }
        }
        // What does not compress grows a little when it is compressed all the same (RFC 1951 §3.2.4).
        let isCompressed = message?.isCompressed ?? header.isCompressed
        let room = Int(limit) + (isCompressed ? Int(limit) >> 8 + 64 : 0) - (message?.bytes.count ?? 0)
        guard header.length <= room else { throw .tooBig(Int(limit)) }
    }

    // MARK: What comes in pieces

    private func continueUnfinished(
        _ unfinished: Unfinished, _ bytes: UnsafeMutableRawBufferPointer, _ position: inout Int
    ) throws(WebSocketError) -> Found? {
        while true {
            if unfinished.frame == nil {
                guard let header = try unfinished.takeHeader(bytes, &position) else { return nil }
                try check(header, within: unfinished.message)
                unfinished.begin(header)
            }
            let (isWhole, header) = try unfinished.takePayload(bytes, &position)
            guard isWhole else { return nil }
            if header.opcode.isControl { return .control(header.opcode, .assembled(unfinished.finishControl())) }
            if header.isFinal {
                let message = try unfinished.finishMessage()
                return .message(.assembled(message.bytes), isText: message.isText, isCompressed: message.isCompressed)
            }
            if position == bytes.count { return nil }
        }
    }
}

extension WebSocketError {
    static let notText = WebSocketError(.invalidData, "text that is not UTF-8")
    static let textEndsInside = WebSocketError(.invalidData, "text that ends inside a character")
    static func tooBig(_ limit: Int) -> WebSocketError { WebSocketError(.messageTooBig, "a message over \(limit) bytes") }
}
