/// A value that belongs to a loop, on its way through code that does not: it is given back only on that loop.
public struct LoopBound<Value>: @unchecked Sendable {
    // Unchecked: nobody can reach `value` off its loop.
    private let loop: EventLoop
    private let value: Value

    public init(_ value: Value, to loop: EventLoop) {
        self.loop = loop
        self.value = value
    }

    /// The value. Traps off the loop.
    public var onLoop: Value {
        loop.preconditionOnLoop()
        return value
    }
}
