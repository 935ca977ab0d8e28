/// What a frame carries (RFC 6455 §5.2, §11.8).
public enum Opcode: UInt8, Sendable {
    case continuation = 0x0
    case text = 0x1
    case binary = 0x2
    case close = 0x8
    case ping = 0x9
    case pong = 0xA

    /// Control frames come between the fragments of a message and are at most 125 bytes (RFC 6455 §5.5).
    public var isControl: Bool { rawValue >= 0x8 }
}

/// The endpoint that this side is. A client masks what it sends, a server does not (RFC 6455 §5.1).
public enum Role: Sendable { case client, server }
