/// Text from outside that may be compared, hashed and sorted.
///
/// Swift compares text in its normal form, and to find that takes the square of a run of combining marks: nine kilobytes of them cost
/// 45 ms. The Stream-Safe Text Format (UAX #15 §13) has at most thirty in a row, and no language more than a few.
public enum StreamSafeText {
    private static let mostMarks = 30
    /// The first combining mark is U+0300; in UTF-8 it, and whatever comes behind it, begins with this byte or a greater one.
    private static let leastLead: UInt8 = 0xCC

    /// Whether it has no longer run of marks. Takes time as its length.
    public static func isSafe(_ utf8: UnsafeRawBufferPointer) -> Bool {
        guard utf8.contains(where: { $0 >= leastLead }) else { return true }
        var marks = 0
        for scalar in String(decoding: utf8, as: UTF8.self).unicodeScalars {
            marks = scalar.value >= 0x300 && scalar.properties.canonicalCombiningClass != .notReordered ? marks + 1 : 0
            if marks > mostMarks { return false }
        }
        return true
    }

    public static func isSafe(_ text: String) -> Bool {
        var text = text
        return text.withUTF8 { isSafe(UnsafeRawBufferPointer($0)) }
    }
}
