/// Compresses and inflates whole messages by what was negotiated (RFC 7692 §7.2).
///
/// Where neither side takes its context over, nothing is remembered from one message to the next, and one of these
/// serves every connection of a loop that agreed on the same. Where a context is kept it belongs to one connection.
/// Confined to a loop, like its connections.
public final class PermessageDeflate {
    public let parameters: DeflateParameters
    /// Smaller messages are sent as they are, in bytes.
    public let minimumBytes: Int
    private let role: Role
    /// Bytes of all messages that have been inflated.
    public private(set) var inflatedBytes = 0
    private var deflater: Deflater?
    private var inflater: Inflater?
    /// A frame that was compressed, behind room for its header.
    private var output = FrameEncoder()

    public init(_ parameters: DeflateParameters, role: Role = .server, minimumBytes: Int = 256) {
        self.parameters = parameters
        self.role = role
        self.minimumBytes = minimumBytes
    }

    /// Whether it may serve several connections.
    public var isShared: Bool { parameters.serverNoContextTakeover && parameters.clientNoContextTakeover }

    private var forgetsSent: Bool { role == .server ? parameters.serverNoContextTakeover : parameters.clientNoContextTakeover }
    private var forgetsReceived: Bool { role == .server ? parameters.clientNoContextTakeover : parameters.serverNoContextTakeover }

    /// Inflates a message.
    ///
    /// - Parameter limit: most bytes that it may come to, checked while inflating: what is over is never produced.
    /// - Throws: 1009 where it comes to more, 1007 where it is not what RFC 1951 describes, or ends inside a block.
    func inflate(_ message: UnsafeRawBufferPointer, limit: Int) throws(WebSocketError) -> [UInt8] {
        if inflater == nil { inflater = Inflater() }
        defer { if forgetsReceived { inflater!.reset() } }
        let inflated = try inflater!.inflate(message, limit: limit)
        inflatedBytes += inflated.count
        return inflated
    }

    /// Lends a whole frame with `payload` compressed; false where it is not worth it, and it goes as it is.
    func frame(
        _ opcode: Opcode, _ payload: UnsafeRawBufferPointer, mask: UInt32?, _ body: (UnsafeRawBufferPointer) -> Void
    ) -> Bool {
        // Of nothing, zlib makes nothing at all the second time.
        guard payload.count >= max(1, minimumBytes) else { return false }
        if deflater == nil {
            deflater = Deflater(windowBits: role == .server ? parameters.serverMaxWindowBits : parameters.clientMaxWindowBits)
        }
        output.reset()
        deflater!.deflate(payload, into: &output.payload)
        if forgetsSent {
            deflater!.reset()
            // A window that goes on must know each message; one that does not is free to pass this one over.
            if output.payloadCount >= payload.count { return false }
        }
        output.finish(opcode, isCompressed: true, mask: mask, body)
        return true
    }
}
