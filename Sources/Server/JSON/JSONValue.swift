/// JSON that came from outside, as a tree.
enum JSONValue: Hashable {
    case null
    case bool(Bool)
    case number(Double)
    case string(String)
    case array([JSONValue])
    case object([String: JSONValue])

    /// What it is, for a sentence.
    var kind: String {
        switch self {
        case .null: "null"
        case .bool: "a boolean"
        case .number: "a number"
        case .string: "a string"
        case .array: "an array"
        case .object: "an object"
        }
    }
}

extension JSONValue: JSONWritable {
    func write(to bytes: inout [UInt8]) {
        switch self {
        case .null: JSONNull().write(to: &bytes)
        case .bool(let value): value.write(to: &bytes)
        case .number(let value):
            if value == value.rounded(), value.magnitude < 1e15 {
                Int(value).write(to: &bytes)
            } else {
                bytes.append(contentsOf: "\(value)".utf8)
            }
        case .string(let value): value.write(to: &bytes)
        case .array(let values): bytes.array(values) { $1.write(to: &$0) }
        case .object(let members):
            bytes.append(0x7B)
            for (index, member) in members.sorted(by: { $0.key < $1.key }).enumerated() {
                if index > 0 { bytes.append(0x2C) }
                member.key.write(to: &bytes)
                bytes.append(0x3A)
                member.value.write(to: &bytes)
            }
            bytes.append(0x7D)
        }
    }
}
