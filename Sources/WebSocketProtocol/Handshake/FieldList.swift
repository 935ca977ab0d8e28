/// The elements of header fields that are lists (RFC 9110 §5.6.1): separated by commas, with white space around them
/// that does not count. Looked at where they lie.
struct FieldList {
    private let fields: Handshake.Fields
    private let kind: Handshake.Fields.Kind

    init(_ fields: Handshake.Fields, _ kind: Handshake.Fields.Kind) { (self.fields, self.kind) = (fields, kind) }

    /// Calls `body` with each element that is not empty, until it returns true. Returns whether it did.
    func contains(where body: (UnsafeBufferPointer<UInt8>) -> Bool) -> Bool {
        for var field in fields.found where field.kind == kind && field.value.withUTF8({ FieldList.scan($0, body) }) { return true }
        return false
    }

    /// Whether one of the elements is `token`, in whatever case. `token` must be lower case.
    func contains(_ token: StaticString) -> Bool {
        let wanted = UnsafeBufferPointer(start: token.utf8Start, count: token.utf8CodeUnitCount)
        return contains { element in
            guard element.count == wanted.count else { return false }
            for index in 0..<wanted.count where FieldList.lowered(element[index]) != wanted[index] { return false }
            return true
        }
    }

    private static func scan(_ bytes: UnsafeBufferPointer<UInt8>, _ body: (UnsafeBufferPointer<UInt8>) -> Bool) -> Bool {
        var start = 0
        while start <= bytes.count {
            var end = start
            while end < bytes.count, bytes[end] != 0x2C { end += 1 }
            let next = end + 1
            while start < end, isSpace(bytes[start]) { start += 1 }
            while end > start, isSpace(bytes[end - 1]) { end -= 1 }
            if start < end, body(UnsafeBufferPointer(rebasing: bytes[start..<end])) { return true }
            start = next
        }
        return false
    }

    private static func isSpace(_ byte: UInt8) -> Bool { byte == 0x20 || byte == 0x09 }
    private static func lowered(_ byte: UInt8) -> UInt8 { (0x41...0x5A).contains(byte) ? byte | 0x20 : byte }
}
