/// Masks or unmasks in place (RFC 6455 §5.3): both are the same exclusive-or.
///
/// - Parameters:
///   - mask: the masking key as it lies in memory.
///   - phase: how many bytes of the payload came before these.
func applyMask(_ mask: UInt32, to bytes: UnsafeMutableRawBufferPointer, phase: Int) {
    guard mask != 0, let base = bytes.baseAddress else { return }
    let turn = UInt32(phase & 3) * 8
    let key = UInt32(littleEndian: mask)
    let turned = turn == 0 ? key : key >> turn | key << (32 - turn)
    let wide = SIMD32<UInt8>(repeatingWord: turned)
    var offset = 0
    while offset + 32 <= bytes.count {
        let block = base.loadUnaligned(fromByteOffset: offset, as: SIMD32<UInt8>.self)
        base.storeBytes(of: block ^ wide, toByteOffset: offset, as: SIMD32<UInt8>.self)
        offset += 32
    }
    while offset < bytes.count {
        bytes[offset] ^= UInt8(truncatingIfNeeded: turned >> (UInt32(offset & 3) * 8))
        offset += 1
    }
}

extension SIMD32<UInt8> {
    fileprivate init(repeatingWord word: UInt32) {
        self = unsafeBitCast(SIMD8<UInt32>(repeating: word.littleEndian), to: SIMD32<UInt8>.self)
    }
}
