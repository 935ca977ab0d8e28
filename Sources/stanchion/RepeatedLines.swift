/// Limits log lines with the same message, such as one for each request while the database is away: `burst` lines in `seconds`
/// are written, the others are counted, and the next line that is written says how many were omitted.
struct RepeatedLines {
    private struct Entry {
        var began: UInt64
        var written: Int
        var omitted = 0
    }

    /// So many lines with the same words in so many seconds.
    static let (burst, seconds): (Int, UInt64) = (20, 10)
    /// Beyond it all are forgotten: words are the program's own, and they are few.
    private static let limit = 1_000

    private var entries: [String: Entry] = [:]

    /// How many lines with these words were left out since the last one; nil: this one is left out, too.
    mutating func note(_ words: String, at second: UInt64) -> Int? {
        if entries.count >= RepeatedLines.limit, entries[words] == nil { entries = [:] }
        var entry = entries[words] ?? Entry(began: second, written: 0)
        if second >= entry.began + RepeatedLines.seconds { (entry.began, entry.written) = (second, 0) }
        defer { entries[words] = entry }
        guard entry.written < RepeatedLines.burst else {
            entry.omitted += 1
            return nil
        }
        entry.written += 1
        defer { entry.omitted = 0 }
        return entry.omitted
    }
}
