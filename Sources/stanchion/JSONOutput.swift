import Foundation

extension Encodable {
    /// As JSON that people can read, and in which nothing moves from one run to the next.
    func printed() throws -> String {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.prettyPrinted, .sortedKeys]
        return String(decoding: try encoder.encode(self), as: UTF8.self)
    }
}
