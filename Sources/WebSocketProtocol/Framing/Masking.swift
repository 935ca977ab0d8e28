/// Masks or unmasks in place (RFC 6455 §5.3): both are the same exclusive-or.
///
/// - Parameters:
///   - mask: the masking key as it lies in memory.
///   - phase: how many bytes of the payload came before these.
func applyMask(_ mask: UInt32, to bytes: UnsafeMutableRawBufferPointer, phase: Int) {
    guard mask != 0, let base = bytes.baseAddress else { return }
    let key = UInt32(littleEndian: mask)
    // Bytes up to a word's border, whole words, and the bytes behind them.
    let head = min(bytes.count, -Int(bitPattern: base) & 7)
    maskBytes(base, 0..<head, key, phase)
    let words = (bytes.count - head) / 8
    let turned = UInt64(rotated(key, by: phase + head))
    let wide = (turned | turned << 32).littleEndian
    let aligned = (base + head).assumingMemoryBound(to: UInt64.self)
    for index in 0..<words { aligned[index] ^= wide }
    maskBytes(base, head + words * 8..<bytes.count, key, phase)
}

private func maskBytes(_ base: UnsafeMutableRawPointer, _ range: Range<Int>, _ key: UInt32, _ phase: Int) {
    let bytes = base.assumingMemoryBound(to: UInt8.self)
    for offset in range { bytes[offset] ^= UInt8(truncatingIfNeeded: key >> ((UInt32(truncatingIfNeeded: phase + offset) & 3) * 8)) }
}

/// The key as it applies from byte `phase` on.
private func rotated(_ key: UInt32, by phase: Int) -> UInt32 {
    let turn = UInt32(truncatingIfNeeded: phase & 3) * 8
    return turn == 0 ? key : key >> turn | key << (32 - turn)
}
