/// Writes one frame: room for the header is kept in front of the payload, so that a payload of unknown length is
/// written once and never moved. One encoder serves all connections of a loop.
public struct FrameEncoder: Sendable {
    /// The longest header of a frame without a mask; a mask lies behind it.
    private static let headerRoom = 14
    private var bytes: [UInt8]

    /// - Parameter capacity: bytes of a payload that there is room for from the beginning.
    public init(capacity: Int = 512) {
        bytes = []
        bytes.reserveCapacity(FrameEncoder.headerRoom + capacity)
        bytes.append(contentsOf: repeatElement(0, count: FrameEncoder.headerRoom))
    }

    /// Begins a new payload.
    public mutating func reset() { bytes.removeLast(bytes.count - FrameEncoder.headerRoom) }

    /// The payload is appended here, behind what must not be touched.
    public var payload: [UInt8] {
        _read { yield bytes }
        _modify { yield &bytes }
    }

    var payloadCount: Int { bytes.count - FrameEncoder.headerRoom }

    /// Completes the frame around the payload that was appended, and lends its bytes.
    ///
    /// - Parameters:
    ///   - deflate: compresses the payload where it is worth it; nil where that was not negotiated.
    ///   - mask: a fresh, unpredictable key where this side is the client (RFC 6455 §5.3); nil for a server.
    public mutating func finish(
        _ opcode: Opcode, deflate: PermessageDeflate? = nil, mask: UInt32? = nil, _ body: (UnsafeRawBufferPointer) -> Void
    ) {
        if let deflate {
            let isDone = bytes.withUnsafeBytes {
                deflate.frame(opcode, UnsafeRawBufferPointer(rebasing: $0[FrameEncoder.headerRoom...]), mask: mask, body)
            }
            if isDone { return }
        }
        finish(opcode, isCompressed: false, mask: mask, body)
    }

    /// Completes the frame, as bytes of its own.
    public mutating func finished(_ opcode: Opcode, deflate: PermessageDeflate? = nil, mask: UInt32? = nil) -> [UInt8] {
        var frame: [UInt8] = []
        finish(opcode, deflate: deflate, mask: mask) { frame = Array($0) }
        return frame
    }

    // Not generic in what `body` returns: across modules that would be looked up anew for each frame.
    mutating func finish(_ opcode: Opcode, isCompressed: Bool, mask: UInt32?, _ body: (UnsafeRawBufferPointer) -> Void) {
        let length = payloadCount
        let start = FrameEncoder.headerRoom - FrameHeader.size(FrameEncoder.shortLength(length) | (mask == nil ? 0 : 0x80))
        bytes.withUnsafeMutableBytes { raw in
            raw[start] = 0x80 | (isCompressed ? 0x40 : 0) | opcode.rawValue
            raw[start + 1] = FrameEncoder.shortLength(length) | (mask == nil ? 0 : 0x80)
            if length > 0xFFFF {
                raw.storeBytes(of: UInt64(length).bigEndian, toByteOffset: start + 2, as: UInt64.self)
            } else if length > 125 {
                raw.storeBytes(of: UInt16(length).bigEndian, toByteOffset: start + 2, as: UInt16.self)
            }
            if let mask {
                raw.storeBytes(of: mask, toByteOffset: FrameEncoder.headerRoom - 4, as: UInt32.self)
                applyMask(mask, to: UnsafeMutableRawBufferPointer(rebasing: raw[FrameEncoder.headerRoom...]), phase: 0)
            }
            body(UnsafeRawBufferPointer(rebasing: raw[start...]))
        }
    }

    /// The header of a whole frame without a mask, for a payload that is sent from where it lies.
    public static func header(_ opcode: Opcode, length: Int) -> InlineHeader {
        var header = InlineHeader()
        header.append(0x80 | opcode.rawValue)
        header.append(shortLength(length))
        let width = length > 0xFFFF ? 8 : length > 125 ? 2 : 0
        for index in 0..<width { header.append(UInt8(truncatingIfNeeded: length >> (8 * (width - 1 - index)))) }
        return header
    }

    private static func shortLength(_ length: Int) -> UInt8 { length > 0xFFFF ? 127 : length > 125 ? 126 : UInt8(length) }

    /// One whole frame as bytes of its own.
    public static func frame(_ opcode: Opcode, _ payload: some Collection<UInt8>, mask: UInt32? = nil) -> [UInt8] {
        var encoder = FrameEncoder(capacity: payload.count)
        encoder.payload.append(contentsOf: payload)
        return encoder.finished(opcode, mask: mask)
    }

    /// A close frame. A reason that is too long is cut at a character (RFC 6455 §5.5.1).
    public static func close(_ code: CloseCode, _ reason: String = "", mask: UInt32? = nil) -> [UInt8] {
        var text = reason
        while text.utf8.count > 123 { text.removeLast() }
        var encoder = FrameEncoder(capacity: 2 + text.utf8.count)
        encoder.payload.append(UInt8(code.rawValue >> 8))
        encoder.payload.append(UInt8(code.rawValue & 0xFF))
        encoder.payload.append(contentsOf: text.utf8)
        return encoder.finished(.close, mask: mask)
    }
}

/// A few bytes without an allocation.
public struct InlineHeader: Sendable {
    private var storage = InlineArray<14, UInt8>(repeating: 0)
    public private(set) var count = 0

    mutating func append(_ byte: UInt8) {
        storage[count] = byte
        count += 1
    }

    public func withUnsafeBytes<R>(_ body: (UnsafeRawBufferPointer) -> R) -> R {
        storage.span.withUnsafeBytes { body(UnsafeRawBufferPointer(rebasing: $0[..<count])) }
    }
}
