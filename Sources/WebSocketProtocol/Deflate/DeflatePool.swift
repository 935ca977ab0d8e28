/// The compressors of a loop: where no context is kept, one for each distinct set of parameters serves all connections.
public struct DeflatePool {
    private let minimumBytes: Int
    private var shared: [DeflateParameters: PermessageDeflate] = [:]

    /// - Parameter minimumBytes: smaller messages are sent as they are.
    public init(minimumBytes: Int) { self.minimumBytes = minimumBytes }

    /// The one for a connection that agreed on `parameters`: shared, or its own.
    public mutating func deflate(_ parameters: DeflateParameters) -> PermessageDeflate {
        if let known = shared[parameters] { return known }
        let made = PermessageDeflate(parameters, minimumBytes: minimumBytes)
        if made.isShared { shared[parameters] = made }
        return made
    }
}
