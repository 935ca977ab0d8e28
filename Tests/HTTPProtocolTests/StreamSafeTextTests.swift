import HTTPProtocol
import Testing

@Suite struct StreamSafeTextTests {
    private static let grave = "\u{0300}"

    @Test(arguments: [
        "", "plain", "Grüße", "Tiếng Việt", "עִבְרִית", "ที่นี่", "हिन्दी", "한국어", "日本語", "🏳️‍🌈👩🏽‍🚀", String(repeating: "e\u{301}\u{316}", count: 2_000),
        "a" + String(repeating: grave, count: 30), String(repeating: "a" + String(repeating: grave, count: 30), count: 100),
        String(repeating: "ﷺ", count: 3_000),
    ]) func languagesAreSafe(text: String) { #expect(StreamSafeText.isSafe(text)) }

    @Test(arguments: ["\u{0300}", "\u{0316}", "\u{0323}", "\u{0E38}", "\u{05B0}", "\u{1D165}", "\u{20D0}", "\u{0344}"])
    func runsOfMarksAreNot(mark: String) {
        let text = "a" + String(repeating: mark, count: 31)
        #expect(!StreamSafeText.isSafe(text))
        #expect(!StreamSafeText.isSafe("x" + text + "y"))
    }

    /// No door lets them in: a header, a name or a text of JSON, a path, a query.
    @Test(arguments: ["Origin", "Connection", "If-None-Match", "X-Any"]) func headersOfMarksAreMalformed(name: String) {
        let marks = String(repeating: "\u{301}", count: 2_000) + String(repeating: "\u{316}", count: 2_000)
        var parser = RequestParser(limits: HTTPLimits())
        parser.receive(Array("GET / HTTP/1.1\r\nHost: a\r\n\(name): \(marks)\r\n\r\n".utf8).span.bytes)
        #expect(throws: HTTPRefusal.self) { try parser.next() }
    }
}
