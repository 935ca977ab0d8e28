/// One message for many connections: framed once, and compressed once for each distinct set of parameters.
public final class SharedMessage {
    private let opcode: Opcode
    private let plain: [UInt8]
    private let headerSize: Int
    private var compressed: [ObjectIdentifier: [UInt8]] = [:]

    /// Takes the payload that was appended to `encoder`.
    public init(_ opcode: Opcode, _ encoder: inout FrameEncoder) {
        self.opcode = opcode
        plain = encoder.finished(opcode)
        headerSize = FrameHeader.size(plain[1])
    }

    /// Lends the frame for a connection that compresses by `deflate`, or not at all.
    public func withFrame(for deflate: PermessageDeflate?, _ body: (UnsafeRawBufferPointer) -> Void) {
        guard let deflate, plain.count - headerSize >= deflate.minimumBytes else { return plain.withUnsafeBytes(body) }
        if let known = compressed[ObjectIdentifier(deflate)] { return known.withUnsafeBytes(body) }
        var made = plain
        _ = plain.withUnsafeBytes { raw in
            deflate.frame(opcode, UnsafeRawBufferPointer(rebasing: raw[headerSize...]), mask: nil) { made = Array($0) }
        }
        if deflate.isShared { compressed[ObjectIdentifier(deflate)] = made }
        made.withUnsafeBytes(body)
    }
}
