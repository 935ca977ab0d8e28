/// Base64 as a handshake needs it (RFC 4648 §4).
enum Base64 {
    private static let alphabet = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/".utf8)

    static func encode(_ bytes: borrowing Span<UInt8>) -> String {
        let size = (bytes.count + 2) / 3 * 4
        return String(unsafeUninitializedCapacity: size) { text in
            for group in 0..<size / 4 {
                let start = group * 3
                var bits = UInt32(0)
                for index in start..<start + 3 { bits = bits << 8 | UInt32(index < bytes.count ? bytes[index] : 0) }
                for index in 0..<4 {
                    let isPadding = index > bytes.count - start
                    text[group * 4 + index] = isPadding ? 0x3D : alphabet[Int(bits >> UInt32(18 - 6 * index) & 0x3F)]
                }
            }
            return size
        }
    }

    /// The six bits that a character stands for; nil where it stands for none.
    static func value(_ character: UInt8) -> UInt8? {
        switch character {
        case 0x41...0x5A: character - 0x41
        case 0x61...0x7A: character - 0x61 + 26
        case 0x30...0x39: character - 0x30 + 52
        case 0x2B: 62
        case 0x2F: 63
        default: nil
        }
    }
}
