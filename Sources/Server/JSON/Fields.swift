import HTTPTypes
import QueueEngine

/// The members of a JSON object that came from outside, taken one by one. What is not taken is not known.
///
/// Every error names the field and says what it may be.
struct Fields {
    private var members: [String: JSONValue]
    /// Of those that are objects, what they were written as.
    private var texts: [String: String] = [:]
    /// In front of a field's name where the object is itself a field.
    private let path: String

    /// Reads an object from bytes; an empty body is an empty object.
    init(_ bytes: [UInt8]) throws(Problem) {
        let read = bytes.withUnsafeBytes { bytes in Result { () throws(Problem) in try Fields(bytes) } }
        self = try read.get()
    }

    init(_ bytes: UnsafeRawBufferPointer) throws(Problem) {
        path = ""
        if bytes.isEmpty {
            members = [:]
            return
        }
        guard JSONValue.isSmall(bytes), let value = JSONValue(bytes) else {
            throw Problem(.badRequest, "not_json", "the body is not JSON, or has more than \(JSONValue.mostValues) values")
        }
        guard case .object(let members) = value else { throw Problem(.badRequest, "not_an_object", "the body must be a JSON object") }
        self.members = members
        if members.values.contains(where: \.isObject) { texts = JSONValue.objectTexts(bytes) }
    }

    private init(_ members: [String: JSONValue], path: String) {
        self.members = members
        self.path = path
    }

    func contains(_ name: String) -> Bool { value(name) != nil }

    /// Where a field may be missing, `null` says that it is.
    private func value(_ name: String) -> JSONValue? { members[name].flatMap { $0 == .null ? nil : $0 } }

    private mutating func take(_ name: String) -> JSONValue? {
        defer { members[name] = nil }
        return value(name)
    }

    /// Takes a `null` that takes something away; true where there was one.
    mutating func takeNull(_ name: String) -> Bool {
        guard members[name] == .null else { return false }
        members[name] = nil
        return true
    }

    /// A text whose lines end with LF, whatever ended them where it comes from.
    mutating func string(_ name: String, max limit: Int = 200) throws(Problem) -> String? {
        guard let value = take(name) else { return nil }
        guard case .string(var text) = value else { throw wrong(name, "must be a string, not \(value.kind)") }
        if text.utf8.contains(0x0D) { text = text.withUnixLines }
        guard !text.isEmpty, text.utf8.count <= limit else { throw wrong(name, "must be 1 to \(limit) bytes of text") }
        guard !text.unicodeScalars.contains(where: { $0.value < 0x20 && $0 != "\n" && $0 != "\t" || $0.value == 0x7F }) else {
            throw wrong(name, "must have no control characters but tabs and line ends")
        }
        return text
    }

    mutating func requiredString(_ name: String, max limit: Int = 200) throws(Problem) -> String {
        guard let text = try string(name, max: limit) else { throw missing(name) }
        return text
    }

    mutating func integer(_ name: String, in range: ClosedRange<Int>) throws(Problem) -> Int? {
        guard let value = take(name) else { return nil }
        guard case .number(let number) = value, number == number.rounded(), Double(range.lowerBound)...Double(range.upperBound) ~= number
        else { throw wrong(name, "must be a whole number from \(range.lowerBound) to \(range.upperBound)") }
        return Int(number)
    }

    mutating func boolean(_ name: String) throws(Problem) -> Bool? {
        guard let value = take(name) else { return nil }
        guard case .bool(let flag) = value else { throw wrong(name, "must be true or false") }
        return flag
    }

    mutating func choice<C: RawRepresentable<String> & CaseIterable>(_ name: String, _ type: C.Type) throws(Problem) -> C? {
        guard let value = take(name) else { return nil }
        guard case .string(let text) = value, let choice = C(rawValue: text) else {
            throw wrong(name, "must be one of \(C.allCases.map(\.rawValue).joined(separator: ", "))")
        }
        return choice
    }

    mutating func time(_ name: String) throws(Problem) -> Timestamp? {
        guard let value = take(name) else { return nil }
        guard case .string(let text) = value, let moment = Timestamp(rfc3339: text) else {
            throw wrong(name, "must be a time like 2030-01-31T12:00:00Z (RFC 3339)")
        }
        return moment
    }

    /// An object as it was written, but for space between its tokens: what a number is to somebody else is not for this program to say.
    mutating func objectText(_ name: String, max limit: Int) throws(Problem) -> String? {
        guard let value = take(name) else { return nil }
        guard case .object = value, let text = texts[name] else { throw wrong(name, "must be an object, not \(value.kind)") }
        guard text.utf8.count <= limit else { throw wrong(name, "must be at most \(limit) bytes of JSON") }
        return text
    }

    mutating func objects(_ name: String, max limit: Int) throws(Problem) -> [Fields]? {
        guard let value = take(name) else { return nil }
        guard case .array(let elements) = value, elements.count <= limit else {
            throw wrong(name, "must be an array of at most \(limit) objects")
        }
        var objects: [Fields] = []
        for (index, element) in elements.enumerated() {
            guard case .object(let members) = element else { throw wrong("\(name)[\(index)]", "must be an object") }
            objects.append(Fields(members, path: "\(path)\(name)[\(index)]."))
        }
        return objects
    }

    /// Refuses what has not been taken.
    func finish(known: String) throws(Problem) {
        guard let name = members.keys.sorted().first else { return }
        throw wrong(name, "is not known here; known are \(known)")
    }

    func missing(_ name: String) -> Problem {
        Problem(.unprocessableContent, "missing_field", "\(path)\(name) is missing", field: path + name)
    }

    func wrong(_ name: String, _ what: String) -> Problem {
        Problem(.unprocessableContent, "invalid_field", "\(path)\(name) \(what)", field: path + name)
    }
}

extension String {
    /// With LF where CR LF or CR ends a line. By bytes: to Swift CR LF is one character.
    fileprivate var withUnixLines: String {
        var (bytes, isBehindCR): ([UInt8], Bool) = ([], false)
        for byte in utf8 {
            if byte != 0x0A || !isBehindCR { bytes.append(byte == 0x0D ? 0x0A : byte) }
            isBehindCR = byte == 0x0D
        }
        return String(decoding: bytes, as: UTF8.self)
    }
}
