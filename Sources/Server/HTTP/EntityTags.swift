/// What `If-Match` or `If-None-Match` lists: anything, or some entity tags (RFC 9110 §8.8.3, §13.1).
struct EntityTags {
    private(set) var isAny = false
    /// Without quotes.
    private(set) var strong: Set<String> = []
    private var weak: Set<String> = []

    /// A client that knows more of them than this is no browser.
    private static let mostTags = 64

    /// - Returns: nil where the field is none, or lists more than 64 tags.
    init?(_ values: [String]) {
        if values == ["*"] {
            isAny = true
            return
        }
        var count = 0
        for value in values {
            let tags = value.utf8.withContiguousStorageIfAvailable { EntityTags.tags($0, &count) } ?? nil
            guard let (strong, weak) = tags else { return nil }
            self.strong.formUnion(strong)
            self.weak.formUnion(weak)
        }
        if count == 0 { return nil }
    }

    /// Whether one of them is this, a weak one too (RFC 9110 §8.8.3.2).
    func matches(weakly tag: String) -> Bool { isAny || strong.contains(tag) || weak.contains(tag) }

    private static func tags(_ bytes: UnsafeBufferPointer<UInt8>, _ count: inout Int) -> (strong: [String], weak: [String])? {
        var (strong, weak): ([String], [String]) = ([], [])
        var index = 0
        func skipSpace() { while index < bytes.count, bytes[index] == 0x20 || bytes[index] == 0x09 { index += 1 } }
        while true {
            skipSpace()
            if index == bytes.count { return (strong, weak) }
            // Elements may be empty (RFC 9110 §5.6.1.2).
            if bytes[index] == UInt8(ascii: ",") {
                index += 1
                continue
            }
            let isWeak = index + 1 < bytes.count && bytes[index] == UInt8(ascii: "W") && bytes[index + 1] == UInt8(ascii: "/")
            if isWeak { index += 2 }
            guard index < bytes.count, bytes[index] == UInt8(ascii: "\""), count < mostTags else { return nil }
            let start = index + 1
            index = start
            while index < bytes.count, bytes[index] == 0x21 || (0x23...0x7E).contains(bytes[index]) { index += 1 }
            guard index < bytes.count, bytes[index] == UInt8(ascii: "\"") else { return nil }
            let tag = String(decoding: bytes[start..<index], as: UTF8.self)
            if isWeak { weak.append(tag) } else { strong.append(tag) }
            count += 1
            index += 1
            skipSpace()
            guard index == bytes.count || bytes[index] == UInt8(ascii: ",") else { return nil }
        }
    }
}
