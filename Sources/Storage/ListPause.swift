/// The pause behind a list where others wait: as long as the list took, at most a second.
enum ListPause {
    /// In nanoseconds.
    static func length(after nanoseconds: UInt64) -> UInt64 { min(nanoseconds, 1_000_000_000) }
}
