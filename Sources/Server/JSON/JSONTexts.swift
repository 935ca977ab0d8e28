extension JSONValue {
    /// Of an object's members those that are objects, as they were written but for space between tokens, by their names. Of those
    /// with one name the last, as everywhere.
    ///
    /// - Parameter bytes: an object, which has been read: nothing is checked here.
    static func objectTexts(_ bytes: UnsafeRawBufferPointer) -> [String: String] {
        var texts: [String: String] = [:]
        var (name, value): ([UInt8], [UInt8]) = ([], [])
        var (depth, isName, isInString, isEscaped) = (0, true, false, false)
        func finish() {
            let key = name.withUnsafeBytes { JSONValue($0) }
            if case .string(let key) = key {
                texts[key] = value.first == UInt8(ascii: "{") ? String(decoding: value, as: UTF8.self) : nil
            }
            (name, value, isName) = ([], [], true)
        }
        func keep(_ byte: UInt8) { if isName { name.append(byte) } else { value.append(byte) } }
        for byte in bytes {
            if isInString {
                keep(byte)
                (isInString, isEscaped) = (isEscaped || byte != UInt8(ascii: "\""), !isEscaped && byte == UInt8(ascii: "\\"))
                continue
            }
            switch byte {
            case 0x20, 0x09, 0x0A, 0x0D: continue
            case UInt8(ascii: ":") where depth == 1: isName = false
            case UInt8(ascii: ",") where depth == 1: finish()
            case UInt8(ascii: "{"), UInt8(ascii: "["):
                depth += 1
                if depth > 1 { keep(byte) }
            case UInt8(ascii: "}"), UInt8(ascii: "]"):
                depth -= 1
                if depth > 0 { keep(byte) } else { finish() }
            default:
                isInString = byte == UInt8(ascii: "\"")
                keep(byte)
            }
        }
        return texts
    }
}
