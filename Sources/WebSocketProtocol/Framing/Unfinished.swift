/// What a parser keeps while a frame or a message is not complete: the one thing that makes a connection larger than
/// an idle one.
final class Unfinished {
    /// A message of which some fragments have come.
    struct Message {
        let isText: Bool
        let isCompressed: Bool
        var text = UTF8Validator()
        var bytes: [UInt8] = []
    }

    private(set) var message: Message?
    /// The frame that is being received, and how many bytes of its payload have come.
    private(set) var frame: (header: FrameHeader, received: Int)?
    private var control: [UInt8] = []
    /// A header that was cut in two.
    private var spilled = InlineArray<14, UInt8>(repeating: 0)
    private var spilledCount = 0

    var isEmpty: Bool { message == nil && frame == nil && spilledCount == 0 }

    func takeHeader(_ bytes: UnsafeMutableRawBufferPointer, _ position: inout Int) throws(WebSocketError) -> FrameHeader? {
        while position < bytes.count {
            spilled[spilledCount] = bytes[position]
            spilledCount += 1
            position += 1
            guard spilledCount >= 2, spilledCount == FrameHeader.size(spilled[1]) else { continue }
            spilledCount = 0
            var whole = spilled
            return try whole.mutableSpan.withUnsafeBytes { raw throws(WebSocketError) in try FrameHeader(raw) }
        }
        return nil
    }

    func begin(_ header: FrameHeader) {
        frame = (header, 0)
        if header.opcode == .text || header.opcode == .binary {
            message = Message(isText: header.opcode == .text, isCompressed: header.isCompressed)
        }
    }

    /// Keeps what there is of the frame's payload; text is looked at byte by byte, whole or not.
    func takePayload(
        _ bytes: UnsafeMutableRawBufferPointer, _ position: inout Int
    ) throws(WebSocketError) -> (isWhole: Bool, FrameHeader) {
        let (header, received) = frame!
        let count = min(header.length - received, bytes.count - position)
        let piece = UnsafeMutableRawBufferPointer(rebasing: bytes[position..<position + count])
        position += count
        applyMask(header.mask, to: piece, phase: received)
        let isWhole = received + count == header.length
        frame = isWhole ? nil : (header, received + count)
        if header.opcode.isControl {
            control.append(contentsOf: piece)
        } else {
            try take(UnsafeRawBufferPointer(piece), of: header)
        }
        return (isWhole, header)
    }

    private func take(_ piece: UnsafeRawBufferPointer, of header: FrameHeader) throws(WebSocketError) {
        if message!.isText, !message!.isCompressed, !message!.text.accept(piece) { throw .notText }
        // The length of a large last frame is known: its bytes are not moved about as they come.
        if header.isFinal, message!.bytes.isEmpty, piece.count < header.length {
            message!.bytes.reserveCapacity(min(header.length, 1 << 20))
        }
        message!.bytes.append(contentsOf: piece)
    }

    func finishControl() -> [UInt8] {
        defer { control = [] }
        return control
    }

    func finishMessage() throws(WebSocketError) -> Message {
        defer { message = nil }
        guard message!.isCompressed || message!.text.isComplete else { throw .textEndsInside }
        return message!
    }
}
