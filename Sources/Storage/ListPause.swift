/// The pause between lists where several wait.
enum ListPause {
    /// In nanoseconds.
    static let longest: UInt64 = 1_000_000_000
}
