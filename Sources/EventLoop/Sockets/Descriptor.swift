import CLinux

/// The one owner of a file descriptor: it cannot be copied, and it closes what it owns exactly once, when it goes.
public struct Descriptor: ~Copyable, Sendable {
    public let number: Int32

    /// Takes over `number`, which nobody else may close.
    public init(owning number: Int32) {
        precondition(number >= 0, "not a descriptor")
        self.number = number
    }

    /// Ends the ownership without closing; whoever takes the number owns it.
    consuming func surrender() -> Int32 {
        let number = number
        discard self
        return number
    }

    // A close that fails has closed nevertheless on Linux (close(2), "Dealing with error returns").
    deinit { clinux_close(number) }
}
