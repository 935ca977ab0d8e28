import CZlib

/// `bytes` as one gzip member (RFC 1952), as small as zlib makes it: for what is compressed once and sent often.
func gzip(_ bytes: [UInt8]) -> [UInt8] {
    // zlib remembers where its stream lies.
    let stream = UnsafeMutablePointer<z_stream>.allocate(capacity: 1)
    stream.initialize(to: z_stream())
    defer { stream.deallocate() }
    // 15 bits of window, and 16 more for gzip's own header.
    let result = deflateInit2_(stream, 9, Z_DEFLATED, 15 + 16, 9, Z_DEFAULT_STRATEGY, ZLIB_VERSION, Int32(MemoryLayout<z_stream>.size))
    precondition(result == Z_OK, "deflateInit2: \(result)")
    defer { deflateEnd(stream) }
    var input = bytes
    let length = Int(deflateBound(stream, UInt(bytes.count)))
    return [UInt8](unsafeUninitializedCapacity: length) { output, count in
        input.withUnsafeMutableBufferPointer {
            (stream.pointee.next_in, stream.pointee.avail_in) = ($0.baseAddress, UInt32($0.count))
            (stream.pointee.next_out, stream.pointee.avail_out) = (output.baseAddress, UInt32(length))
            let result = deflate(stream, Z_FINISH)
            precondition(result == Z_STREAM_END, "deflate: \(result)")
        }
        count = length - Int(stream.pointee.avail_out)
    }
}
