import Foundation
import QueueEngine
import Testing
import TestSupport

@testable import Server

@Suite struct JSONTests {
    private func text(_ value: some JSONWritable) -> String {
        var bytes: [UInt8] = []
        value.write(to: &bytes)
        return String(decoding: bytes, as: UTF8.self)
    }

    @Test func valuesAreWrittenAsJSON() {
        #expect(text(0) == "0" && text(-12) == "-12" && text(Int.max) == "9223372036854775807" && text(Int.min) == "-9223372036854775808")
        #expect(text(0.5) == "0.5" && text(-0.25) == "-0.25" && text(10.0) == "10" && text(0.0001) == "0.0001" && text(0.00001) == "0")
        #expect(text(Double.nan) == "null" && text(Double.infinity) == "null" && text(1.00005) == "1.0001")
        let places = [82.04, 82.05, 90.2, 9.96, 0.04, -0.04, -3.25].map { number in
            var bytes: [UInt8] = []
            bytes.append(addingCapacity: 20) { $0.append(number: number, places: 1) }
            return String(decoding: bytes, as: UTF8.self)
        }
        #expect(places == ["82", "82.1", "90.2", "10", "0", "0", "-3.3"])
        #expect(text("a\"b\\c\n\u{1}ä😀") == #""a\"b\\c\n\u0001ä😀""#)
        #expect(text(Int?.none) == "null" && text(true) == "true")
        var bytes: [UInt8] = []
        bytes.object { bytes in
            bytes.member("a", 1)
            bytes.member("b", ifPresent: Int?.none)
            bytes.member("c") { $0.member("d", "e") }
            bytes.key("f")
            bytes.array([1, 2]) { $1.write(to: &$0) }
        }
        #expect(String(decoding: bytes, as: UTF8.self) == #"{"a":1,"c":{"d":"e"},"f":[1,2]}"#)
    }

    /// Of every length, for their digits are counted before they are written.
    @Test func numbersAreReadBack() throws {
        var random = SeededRandom(seed: TestSeed.value)
        for bits in 0..<63 {
            for number in [1 << bits, 1 << bits - 1, Int.random(in: 0...1 << bits, using: &random)] {
                #expect(text(number) == "\(number)" && text(-number) == "\(-number)")
                #expect(text(UInt64(number) * 2 + 1) == "\(UInt64(number) * 2 + 1)")
            }
        }
        var power = 1
        for _ in 0..<18 {
            power *= 10
            #expect(text(power) == "\(power)" && text(power - 1) == "\(power - 1)")
        }
        for scale in 0..<14 {
            for _ in 0..<50 {
                let number = Double.random(in: -1...1, using: &random) * pow(10, Double(scale))
                let read = try JSONDecoder().decode(Double.self, from: Data(text(number).utf8))
                #expect(abs(read - number) <= 0.000_05 + 2 * number.magnitude.ulp)
            }
        }
        #expect(text(-99_999_999_999_999.98).utf8.count <= 20 && text(1e14) == "null")
    }

    /// Everything that is written is read back by a parser that nobody here wrote.
    @Test func stringsAndTimesAreReadBack() throws {
        var random = SeededRandom(seed: TestSeed.value)
        for _ in 0..<500 {
            let string = String(
                String.UnicodeScalarView((0..<20).compactMap { _ in Unicode.Scalar(UInt32.random(in: 0...0x2_FFFF, using: &random)) }))
            #expect(try JSONDecoder().decode(String.self, from: Data(text(string).utf8)) == string)
            let moment = Timestamp(microseconds: Int64.random(in: 0...253_402_300_799, using: &random) * 1_000_000 + 123_000)
            let written = try JSONDecoder().decode(String.self, from: Data(text(moment).utf8))
            #expect(Timestamp(rfc3339: written) == moment, "\(written)")
        }
    }

    static func read(_ text: String) -> JSONValue? { Array(text.utf8).withUnsafeBytes { JSONValue($0) } }

    @Test func readsEveryKindOfValue() throws {
        let tree = JSONValue.object([
            "a": .array([.null, .bool(true), .bool(false), .number(-1.5), .number(9_007_199_254_740_992)]), "": .string("é\n\"\\🎟\u{1}"),
            "o": .object([:]), "l": .array([]),
        ])
        let text = #"{"a":[null,true, false,-1.5,9007199254740992],"":"é\n\"\\🎟\u0001","o":{ },"l":[]}"#
        #expect(JSONTests.read(text) == tree)
        #expect(JSONTests.read(#"{"a":1,"a":2}"#) == .object(["a": .number(2)]))
        #expect(JSONTests.read(#"" \u0000\ud83c\udf9f""#) == .string(" \u{0}🎟"))
        #expect(JSONTests.read("-0e0") == .number(0))
    }

    /// What passes through is what came: a double holds no number of nineteen digits.
    @Test(arguments: [
        (
            #"{"m":{"id":1546130668394913822,"n":1234567890123456,"z":1.10,"e":1E5}}"#,
            #"{"id":1546130668394913822,"n":1234567890123456,"z":1.10,"e":1E5}"#
        ),
        (" {\n\t\"m\" : { \"a b\" : [ 1 , \"x : , } \\\" y\" , { } ] }\r\n}", #"{"a b":[1,"x : , } \" y",{}]}"#),
        (#"{"a":{"m":{"inner":1}},"\u006d":{"\\":"\\"},"b":[{}]}"#, #"{"\\":"\\"}"#),
        (#"{"m":{"first":1},"m":{"last":2}}"#, #"{"last":2}"#),
    ]) func objectPassesThroughAsItWasWritten(body: String, text: String) throws {
        var fields = try Fields(Array(body.utf8))
        let passed = try fields.objectText("m", max: 100)
        #expect(passed == text)
    }

    /// Of any object: each text is read as the member that it is of.
    @Test(arguments: 0..<50) func textsAreThoseOfTheMembers(seed: UInt64) throws {
        var random = SeededRandom(seed: seed)
        func string() -> String { ["\"a\"", #""\"""#, #""\\""#, #""{[,:]}""#, #""\u0062""#, "\"🎟\""].randomElement(using: &random)! }
        func space() -> String { ["", "", " ", "\n\t"].randomElement(using: &random)! }
        func object(_ depth: Int) -> String {
            let members = (0..<Int.random(in: 0...4, using: &random)).map { _ in
                space() + string() + space() + ":" + space() + value(depth - 1) + space()
            }
            return "{" + (members.isEmpty ? space() : members.joined(separator: ",")) + "}"
        }
        func value(_ depth: Int) -> String {
            switch Int.random(in: 0..<(depth > 0 ? 6 : 3), using: &random) {
            case 0: string()
            case 1: "-12.50e3"
            case 2: "null"
            case 3: "[" + value(depth - 1) + space() + "," + value(depth - 1) + "]"
            default: object(depth)
            }
        }
        let bytes = Array(object(4).utf8)
        guard case .object(let members) = bytes.withUnsafeBytes({ JSONValue($0) }) else {
            Issue.record("no object: \(String(decoding: bytes, as: UTF8.self))")
            return
        }
        let texts = bytes.withUnsafeBytes { JSONValue.objectTexts($0) }
        #expect(Set(texts.keys) == Set(members.filter { $0.value.isObject }.keys))
        for (name, text) in texts { #expect(JSONTests.read(text) == members[name] && !text.contains("\n")) }
    }

    /// RFC 8259 and nothing beside it; no depth ends the process.
    @Test(arguments: [
        "", " ", "{", "[1,]", "{\"a\":1,}", "{'a':1}", "{a:1}", "01", "+1", "1.", ".5", "0x10", "NaN", "Infinity", "1e999", "tru", "nul",
        "\"\n\"", "\"\\x\"", "\"\\ud83c\"", "\"\\udf9f\"", "{} {}", "[1] //", "/**/1", "\u{FEFF}{}", "\"", "[\u{0}]",
        String(repeating: "[", count: 100_000), String(repeating: "{\"a\":", count: 100_000),
        String(repeating: "[", count: 5_000) + String(repeating: "]", count: 5_000),
    ])
    func refusesWhatIsNoJSON(_ text: String) { #expect(JSONTests.read(text) == nil) }

    /// What would take the square of its length to compare.
    @Test(arguments: [#"{"M":1}"#, #"{"a":"M"}"#, #"[["M"]]"#, #"{"a":{"b":[{"M":0}]}}"#, #"{"E":1}"#, #""E""#]) func refusesMarksUponMarks(
        text: String
    ) {
        let marks = String(repeating: "\u{301}", count: 40)
        let escaped = String(repeating: "\\u0301", count: 40)
        #expect(JSONTests.read(text.replacing("M", with: marks).replacing("E", with: escaped)) == nil)
        #expect(JSONTests.read(text.replacing("M", with: "e\u{301}").replacing("E", with: "e\\u0301")) != nil)
    }

    @Test func refusesWhatIsNoText() {
        for bytes: [UInt8] in [
            [0x22, 0xFF, 0x22], [0x22, 0xC0, 0x80, 0x22], [0x22, 0xED, 0xA0, 0x80, 0x22], Array("{}".utf16.flatMap { [UInt8($0), 0] }),
        ] {
            #expect(bytes.withUnsafeBytes { JSONValue($0) } == nil, "\(bytes)")
        }
        let deep = String(repeating: "[", count: 2_000) + String(repeating: "]", count: 2_000)
        #expect(JSONTests.read(deep) != nil)
    }

    /// Where a field may be missing, `null` says that it is; where it must be there, it is missing.
    @Test func nullIsAbsent() throws {
        var fields = try Fields(Array(#"{"a":null,"b":null,"c":null,"d":null,"e":null,"f":null,"g":null}"#.utf8))
        #expect(!fields.contains("a"))
        let nothing: [Any?] = [
            try fields.string("a"), try fields.integer("b", in: 0...1), try fields.boolean("c"), try fields.time("d"),
            try fields.objectText("e", max: 9), try fields.objects("f", max: 1),
        ]
        #expect(nothing.allSatisfy { $0 == nil })
        #expect(throws: fields.missing("g")) { try fields.requiredString("g") }
        try fields.finish(known: "")
        let unknown = try Fields(Array(#"{"z":null}"#.utf8))
        #expect(throws: Problem.self) { try unknown.finish(known: "a") }
    }

    @Test(arguments: [("a\r\nb", "a\nb"), ("a\rb\r\r\nc", "a\nb\n\nc"), ("a\n\tb", "a\n\tb")]) func linesEndAlike(
        text: String, read: String
    ) throws {
        var fields = try Fields(try JSONEncoder().encode(["t": text]).map { $0 })
        let taken = try fields.string("t")
        #expect(taken == read)
    }

    @Test(arguments: ["a\u{0}", "\u{1B}[2J", "\u{7F}"]) func controlCharactersAreRefusedAsThat(text: String) throws {
        var fields = try Fields(try JSONEncoder().encode(["t": text]).map { $0 })
        #expect(throws: fields.wrong("t", "must have no control characters but tabs and line ends")) { try fields.string("t") }
    }

    @Test func fieldsNameWhatIsWrong() throws {
        var fields = try Fields(Array(#"{"a":1,"b":"x","c":[{"d":2}],"e":null}"#.utf8))
        let (number, isNull) = (try fields.integer("a", in: 0...5), fields.takeNull("e"))
        #expect(number == 1 && isNull)
        #expect(throws: Problem.self) { try fields.integer("b", in: 0...5) }
        var inner = try fields.objects("c", max: 1)![0]
        #expect(inner.wrong("d", "x").field == "c[0].d")
        let two = try inner.integer("d", in: 2...2)
        #expect(two == 2)
        try fields.finish(known: "")
        let unknown = try Fields(Array(#"{"z":1}"#.utf8))
        #expect(throws: Problem(.unprocessableContent, "invalid_field", "z is not known here; known are y")) {
            try unknown.finish(known: "y")
        }
    }
}
