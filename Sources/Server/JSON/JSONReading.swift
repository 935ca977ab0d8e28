import CJansson
import HTTPProtocol

/// Reading is jansson's: Foundation's decoder takes five times as long, and every message of a visitor is read.
extension JSONValue {
    /// Each value of a text costs as much as a hundred bytes of it. Metadata may have a thousand.
    static let mostValues = 1_100

    /// Whether a text has no more values than that, however deep they lie.
    static func isSmall(_ bytes: UnsafeRawBufferPointer) -> Bool {
        var (values, isInString, isEscaped) = (1, false, false)
        for byte in bytes {
            if isEscaped {
                isEscaped = false
            } else if byte == UInt8(ascii: "\"") {
                isInString.toggle()
            } else if isInString {
                isEscaped = byte == UInt8(ascii: "\\")
            } else if byte == UInt8(ascii: ",") || byte == UInt8(ascii: "[") || byte == UInt8(ascii: "{") {
                values += 1
            }
        }
        return values <= mostValues
    }

    /// Reads a text (RFC 8259); nil where the bytes are none. Where a name stands twice the last one counts.
    ///
    /// Numbers are doubles, also where they are whole: exact up to 2^53.
    init?(_ bytes: UnsafeRawBufferPointer) {
        let flags = JSON_DECODE_ANY | JSON_DECODE_INT_AS_REAL | JSON_ALLOW_NUL
        guard let root = json_loadb(bytes.baseAddress, bytes.count, Int(flags), nil) else { return nil }
        defer { json_decref(root) }
        guard let value = JSONValue(root) else { return nil }
        self = value
    }

    /// nil where a text cannot be compared (`StreamSafeText`). As deep as jansson goes (2,048), so that what it gives is never too deep
    /// for this.
    private init?(_ value: UnsafeMutablePointer<json_t>) {
        switch value.pointee.type {
        case JSON_OBJECT:
            var members: [String: JSONValue] = [:]
            var next = json_object_iter(value)
            while let member = next {
                let bytes = UnsafeRawBufferPointer(start: json_object_iter_key(member), count: json_object_iter_key_len(member))
                guard let name = JSONValue.text(bytes), let content = JSONValue(json_object_iter_value(member)) else { return nil }
                members[name] = content
                next = json_object_iter_next(value, member)
            }
            self = .object(members)
        case JSON_ARRAY:
            var elements: [JSONValue] = []
            elements.reserveCapacity(json_array_size(value))
            for index in 0..<json_array_size(value) {
                guard let element = JSONValue(json_array_get(value, index)) else { return nil }
                elements.append(element)
            }
            self = .array(elements)
        case JSON_STRING:
            let bytes = UnsafeRawBufferPointer(start: json_string_value(value), count: json_string_length(value))
            guard let text = JSONValue.text(bytes) else { return nil }
            self = .string(text)
        case JSON_REAL: self = .number(json_real_value(value))
        case JSON_TRUE: self = .bool(true)
        case JSON_FALSE: self = .bool(false)
        default: self = .null
        }
    }

    private static func text(_ bytes: UnsafeRawBufferPointer) -> String? {
        StreamSafeText.isSafe(bytes) ? String(decoding: bytes, as: UTF8.self) : nil
    }
}
