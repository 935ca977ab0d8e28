/// The first 2 to 14 bytes of a frame (RFC 6455 §5.2):
///
///      0                   1                   2                   3
///     +-+-+-+-+-------+-+-------------+-------------------------------+
///     |F|R|R|R| opcode|M| length (7)  |  length (16 or 64, if 126/127) |
///     |I|S|S|S|  (4)  |A|             |                               |
///     |N|V|V|V|       |S|             |                               |
///     | |1|2|3|       |K|             |  masking key, if MASK is set  |
///     +-+-+-+-+-------+-+-------------+-------------------------------+
struct FrameHeader {
    let isFinal: Bool
    /// RSV1: the message that begins here is compressed (RFC 7692 §6).
    let isCompressed: Bool
    let opcode: Opcode
    let isMasked: Bool
    /// The masking key as it lies in memory; 0 where there is none.
    let mask: UInt32
    let length: Int

    /// How many bytes the header has, from its first two.
    static func size(_ second: UInt8) -> Int {
        let extended =
            switch second & 0x7F {
            case 126: 2
            case 127: 8
            default: 0
            }
        return 2 + extended + (second & 0x80 != 0 ? 4 : 0)
    }

    /// Reads a complete header and checks what can be known from it alone.
    init(_ bytes: UnsafeRawBufferPointer) throws(WebSocketError) {
        let (first, second) = (bytes[0], bytes[1])
        isFinal = first & 0x80 != 0
        isCompressed = first & 0x40 != 0
        // §5.2: MUST be 0 unless an extension is negotiated that defines meanings for non-zero values.
        guard first & 0x30 == 0 else { throw WebSocketError(.protocolError, "a reserved bit is set") }
        guard let opcode = Opcode(rawValue: first & 0x0F) else { throw WebSocketError(.protocolError, "a reserved opcode") }
        self.opcode = opcode
        let extended: Int
        switch second & 0x7F {
        case 126:
            length = Int(UInt16(bigEndian: bytes.loadUnaligned(fromByteOffset: 2, as: UInt16.self)))
            extended = 2
            // §5.2: the minimal number of bytes MUST be used to encode the length.
            guard length > 125 else { throw WebSocketError(.protocolError, "a length in more bytes than it needs") }
        case 127:
            let wide = UInt64(bigEndian: bytes.loadUnaligned(fromByteOffset: 2, as: UInt64.self))
            guard wide >> 63 == 0 else { throw WebSocketError(.protocolError, "a length with its highest bit set") }
            guard wide > 0xFFFF else { throw WebSocketError(.protocolError, "a length in more bytes than it needs") }
            length = Int(wide)
            extended = 8
        case let short:
            length = Int(short)
            extended = 0
        }
        isMasked = second & 0x80 != 0
        mask = isMasked ? bytes.loadUnaligned(fromByteOffset: 2 + extended, as: UInt32.self) : 0
        if opcode.isControl {
            // §5.5: control frames MUST have a payload of 125 bytes or less and MUST NOT be fragmented.
            guard isFinal else { throw WebSocketError(.protocolError, "a fragmented control frame") }
            guard length <= 125 else { throw WebSocketError(.protocolError, "a control frame longer than 125 bytes") }
        }
    }
}
