import CZlib

// zlib remembers where its stream lies, so each has a place of its own that does not move.

/// A raw DEFLATE compressor whose output ends on a byte after each message (RFC 7692 §7.2.1). About 260 kB.
struct Deflater: ~Copyable {
    private let stream: UnsafeMutablePointer<z_stream>

    init(windowBits: UInt8) {
        stream = .allocate(capacity: 1)
        stream.initialize(to: z_stream())
        // zlib has no window of 256 bytes. What is compressed without looking back needs none.
        let strategy = windowBits == 8 ? Z_HUFFMAN_ONLY : Z_DEFAULT_STRATEGY
        let result = deflateInit2_(
            stream, Z_DEFAULT_COMPRESSION, Z_DEFLATED, -Int32(max(9, windowBits)), 8, strategy, ZLIB_VERSION,
            Int32(MemoryLayout<z_stream>.size))
        precondition(result == Z_OK, "deflateInit2: \(result)")
    }

    deinit {
        deflateEnd(stream)
        stream.deallocate()
    }

    func reset() { deflateReset(stream) }

    /// Appends the compressed message, which must not be empty, without the four bytes that every flush ends with.
    func deflate(_ message: UnsafeRawBufferPointer, into output: inout [UInt8]) {
        stream.pointee.next_in = UnsafeMutablePointer(mutating: message.bindMemory(to: UInt8.self).baseAddress)
        stream.pointee.avail_in = UInt32(message.count)
        repeat {
            let start = output.count
            let room = max(256, message.count / 2)
            output.append(contentsOf: repeatElement(0, count: room))
            output.withUnsafeMutableBufferPointer { raw in
                stream.pointee.next_out = raw.baseAddress! + start
                stream.pointee.avail_out = UInt32(room)
                CZlib.deflate(stream, Z_SYNC_FLUSH)
            }
            output.removeLast(Int(stream.pointee.avail_out))
        } while stream.pointee.avail_out == 0
        output.removeLast(4)
    }
}

/// A raw DEFLATE decompressor with the largest window, which reads what any smaller one wrote. About 40 kB.
struct Inflater: ~Copyable {
    private let stream: UnsafeMutablePointer<z_stream>
    private static let chunk = 16_384
    /// A block may be two bytes long and still cost some microseconds. A message may have this many, and one more for so many
    /// compressed bytes: senders end a block after some thousand symbols, or where they flush.
    private static let (blocks, bytesPerBlock) = (32, 32)
    /// What a block counts for that says that it is the last: the window is copied.
    private static let lastBlock = 8

    init() {
        stream = .allocate(capacity: 1)
        stream.initialize(to: z_stream())
        let result = inflateInit2_(stream, -15, ZLIB_VERSION, Int32(MemoryLayout<z_stream>.size))
        precondition(result == Z_OK, "inflateInit2: \(result)")
    }

    deinit {
        inflateEnd(stream)
        stream.deallocate()
    }

    func reset() { inflateReset(stream) }

    /// - Parameter limit: most bytes of the inflated message.
    func inflate(_ message: UnsafeRawBufferPointer, limit: Int) throws(WebSocketError) -> [UInt8] {
        var output: [UInt8] = []
        var blocks = Inflater.blocks + message.count / Inflater.bytesPerBlock
        try take(message, into: &output, limit: limit, blocks: &blocks)
        // The four bytes that the sender left out (§7.2.2).
        let tail: InlineArray<4, UInt8> = [0x00, 0x00, 0xFF, 0xFF]
        try tail.span.withUnsafeBytes { raw throws(WebSocketError) in
            try take(raw, into: &output, limit: limit, blocks: &blocks)
        }
        guard isBetweenBlocks else { throw WebSocketError(.invalidData, "compressed data that ends inside a block") }
        return output
    }

    /// - Parameter blocks: how many may still end.
    private func take(
        _ input: UnsafeRawBufferPointer, into output: inout [UInt8], limit: Int, blocks: inout Int
    ) throws(WebSocketError) {
        stream.pointee.next_in = UnsafeMutablePointer(mutating: input.bindMemory(to: UInt8.self).baseAddress)
        stream.pointee.avail_in = UInt32(input.count)
        while true {
            // One byte more than allowed is room enough to see that there is more.
            let room = min(Inflater.chunk, limit + 1 - output.count)
            let result = withUnsafeTemporaryAllocation(of: UInt8.self, capacity: room) { raw in
                stream.pointee.next_out = raw.baseAddress
                stream.pointee.avail_out = UInt32(room)
                // Comes back at the end of each block.
                let result = CZlib.inflate(stream, Z_BLOCK)
                output.append(contentsOf: UnsafeBufferPointer(rebasing: raw[..<(room - Int(stream.pointee.avail_out))]))
                return result
            }
            let left = Int(stream.pointee.avail_out)
            guard output.count <= limit else { throw .tooBig(limit) }
            switch result {
            case Z_STREAM_END: try beginAnew()
            case Z_OK where isBetweenBlocks:
                // zlib.h, inflate(): 64 stands for the last block.
                blocks -= stream.pointee.data_type & 64 != 0 ? Inflater.lastBlock : 1
                guard blocks >= 0 else { throw WebSocketError(.invalidData, "compressed data in too many blocks") }
                if left > 0, stream.pointee.avail_in == 0 { return }
            case Z_OK, Z_BUF_ERROR: if left > 0 { return }
            default: throw WebSocketError(.invalidData, "compressed data that is broken")
            }
        }
    }

    /// zlib.h, inflate(): 128 stands for the end of a block.
    private var isBetweenBlocks: Bool { stream.pointee.data_type & 128 != 0 }

    /// A block that says that it is the last ends a stream for zlib, and nothing for a WebSocket (§7.2.3.4): what
    /// follows goes on with the same window.
    private func beginAnew() throws(WebSocketError) {
        withUnsafeTemporaryAllocation(of: UInt8.self, capacity: 32_768) { window in
            var length: UInt32 = 0
            inflateGetDictionary(stream, window.baseAddress, &length)
            inflateReset(stream)
            if length > 0 { inflateSetDictionary(stream, window.baseAddress, length) }
        }
    }
}
