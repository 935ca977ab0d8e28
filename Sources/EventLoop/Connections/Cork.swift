/// What one connection says while its bytes are being read, to go out together in one call. One a loop.
struct Cork {
    private let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 16_384, alignment: 64)
    private(set) var count = 0
    /// Whose bytes these are; nil where each is to be sent at once.
    unowned(unsafe) var owner: Connection?

    var bytes: UnsafeRawBufferPointer { UnsafeRawBufferPointer(rebasing: buffer[..<count]) }

    /// False where there is no room, and nothing was taken.
    mutating func append(_ bytes: UnsafeRawBufferPointer) -> Bool {
        guard count + bytes.count <= buffer.count else { return false }
        UnsafeMutableRawBufferPointer(rebasing: buffer[count...]).copyMemory(from: bytes)
        count += bytes.count
        return true
    }

    mutating func empty() { count = 0 }

    func deallocate() { buffer.deallocate() }
}
