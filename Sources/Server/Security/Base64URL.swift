import Foundation

/// Base64 for URLs, without padding (RFC 4648 §5).
extension Collection<UInt8> {
    /// - Parameter prefix: stands in front of it. Into one string at once: Foundation's way needs the bytes a second time, and the text.
    func base64URL(behind prefix: String = "") -> String {
        String(unsafeUninitializedCapacity: prefix.utf8.count + (count * 4 + 2) / 3) { buffer in
            var text = OutputSpan(buffer: buffer, initializedCount: 0)
            for byte in prefix.utf8 { text.append(byte) }
            let digits: StaticString = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
            var (bits, pending) = (UInt32(0), UInt32(0))
            for byte in self {
                bits = bits << 8 | UInt32(byte)
                pending += 8
                while pending >= 6 {
                    pending -= 6
                    text.append(digits.utf8Start[Int(bits >> pending & 63)])
                }
            }
            if pending > 0 { text.append(digits.utf8Start[Int(bits << (6 - pending) & 63)]) }
            return text.finalize(for: buffer)
        }
    }
}

extension Data {
    init?(base64URL text: String) {
        var standard = Array(text.utf8)
        for (index, byte) in standard.enumerated() {
            switch byte {
            case UInt8(ascii: "+"), UInt8(ascii: "/"), UInt8(ascii: "="): return nil
            case UInt8(ascii: "-"): standard[index] = UInt8(ascii: "+")
            case UInt8(ascii: "_"): standard[index] = UInt8(ascii: "/")
            default: break
            }
        }
        standard += [UInt8](repeating: UInt8(ascii: "="), count: (4 - standard.count % 4) % 4)
        self.init(base64Encoded: Data(standard))
    }
}
