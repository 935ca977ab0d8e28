import CHiredis

/// What a Redis server answers or tells (RESP2, https://redis.io/docs/latest/develop/reference/protocol-spec/).
enum RedisReply: Equatable {
    case bytes([UInt8])
    case status(String)
    case number(Int64)
    case array([RedisReply])
    case error(String)
    case null

    /// A string, in whichever of its two forms. What is no ASCII becomes `?`: texts with marks upon marks take long to compare.
    var text: String? {
        switch self {
        case .bytes(let bytes): RedisReply.ascii(bytes)
        case .status(let text): text
        default: nil
        }
    }

    private static func ascii(_ bytes: some Sequence<UInt8>) -> String {
        String(decoding: bytes.map { $0 < 0x80 ? $0 : UInt8(ascii: "?") }, as: UTF8.self)
    }

    /// Bytes of a status or an error that are kept: they are words for people.
    private static let mostWords = 500

    fileprivate init(_ reply: UnsafePointer<redisReply>) {
        let raw = reply.pointee
        let bytes = UnsafeRawBufferPointer(start: raw.str, count: raw.str == nil ? 0 : Int(raw.len))
        switch raw.type {
        case REDIS_REPLY_STRING: self = .bytes(Array(bytes))
        case REDIS_REPLY_STATUS: self = .status(RedisReply.ascii(bytes.prefix(RedisReply.mostWords)))
        case REDIS_REPLY_INTEGER: self = .number(raw.integer)
        case REDIS_REPLY_ERROR: self = .error(RedisReply.ascii(bytes.prefix(RedisReply.mostWords)))
        case REDIS_REPLY_ARRAY: self = .array((0..<Int(raw.elements)).map { RedisReply(raw.element[$0]!) })
        default: self = .null
        }
    }
}

/// Takes the bytes of a connection apart. hiredis' reader; what it is given is not trusted.
final class RedisReader {
    /// The stream is no RESP2, or one reply of it is too long.
    struct Broken: Error { let reason: String }

    /// Bytes of one reply.
    static let limit = 1 << 20
    /// Elements of one array. hiredis makes room for as many as are announced, before one of them has come.
    static let elements = 1_024
    private let reader = redisReaderCreateWithFunctions(RedisReader.functions)!
    /// Bytes since the last whole reply. hiredis forgets those of elements that are whole, and keeps what they made.
    private var bytesOfReply = 0

    private static let defaults = {
        let reader = redisReaderCreate()!
        defer { redisReaderFree(reader) }
        return reader.pointee.fn.pointee
    }()

    // Unsafe only for the compiler: they are made once and never changed.
    private nonisolated(unsafe) static let functions = {
        let functions = UnsafeMutablePointer<redisReplyObjectFunctions>.allocate(capacity: 1)
        functions.initialize(to: defaults)
        functions.pointee.createArray = { task, count in
            Int(count) > RedisReader.elements ? nil : RedisReader.defaults.createArray(task, count)
        }
        return functions
    }()

    deinit { redisReaderFree(reader) }

    func receive(_ bytes: UnsafeRawBufferPointer) throws(Broken) {
        bytesOfReply += bytes.count
        guard redisReaderFeed(reader, bytes.baseAddress?.assumingMemoryBound(to: CChar.self), bytes.count) == REDIS_OK else { throw broken }
    }

    /// The next whole reply; nil where there is none yet.
    func next() throws(Broken) -> RedisReply? {
        var raw: UnsafeMutableRawPointer?
        guard redisReaderGetReply(reader, &raw) == REDIS_OK else { throw broken }
        guard let raw else {
            guard bytesOfReply <= RedisReader.limit else { throw Broken(reason: "a reply is too long") }
            return nil
        }
        defer { freeReplyObject(raw) }
        bytesOfReply = reader.pointee.len - reader.pointee.pos
        return RedisReply(raw.assumingMemoryBound(to: redisReply.self))
    }

    private var broken: Broken {
        if reader.pointee.err == REDIS_ERR_OOM { return Broken(reason: "a reply has too many elements, or there is no memory for it") }
        return Broken(reason: withUnsafeBytes(of: reader.pointee.errstr) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) })
    }
}

/// A command as a server reads it: an array of strings.
enum RedisCommand {
    static func encode(_ parts: [[UInt8]]) -> [UInt8] {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(parts.reduce(16) { $0 + $1.count + 16 })
        bytes += "*\(parts.count)\r\n".utf8
        for part in parts {
            bytes += "$\(part.count)\r\n".utf8
            bytes += part
            bytes += "\r\n".utf8
        }
        return bytes
    }
}
