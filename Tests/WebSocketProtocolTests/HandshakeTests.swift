import Testing
import WebSocketProtocol

@Suite struct HandshakeTests {
    static let good: [String: [String]] = [
        "upgrade": ["websocket"], "connection": ["Upgrade"], "sec-websocket-version": ["13"],
        "sec-websocket-key": ["dGhlIHNhbXBsZSBub25jZQ=="],
    ]

    static func answer(_ change: (inout [String: [String]]) -> Void, method: String = "GET") throws(HandshakeRefusal) -> Handshake.Answer {
        var values = good
        change(&values)
        var fields = Handshake.Fields()
        for (name, values) in values { for value in values { fields.add(name, value) } }
        return try Handshake.answer(method: method, fields: fields, supported: ["stanchion.v1"])
    }

    /// The example of RFC 6455 §1.3.
    @Test func theExampleOfTheRFC() throws {
        #expect(try HandshakeTests.answer { _ in }.accept == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")
    }

    @Test func listsAreReadAsLists() throws {
        #expect(try HandshakeTests.answer { $0["connection"] = ["keep-alive, Upgrade"] }.subprotocol == nil)
        #expect(try HandshakeTests.answer { $0["connection"] = ["keep-alive", "UPGRADE"] }.subprotocol == nil)
        #expect(try HandshakeTests.answer { $0["sec-websocket-protocol"] = ["a, stanchion.v1"] }.subprotocol == "stanchion.v1")
        #expect(try HandshakeTests.answer { $0["sec-websocket-protocol"] = ["a", "stanchion.v1"] }.subprotocol == "stanchion.v1")
    }

    @Test func everyFaultHasItsRefusal() {
        let faults: [(HandshakeRefusal, (inout [String: [String]]) -> Void)] = [
            (.notAnUpgrade, { $0["upgrade"] = nil }), (.notAnUpgrade, { $0["upgrade"] = ["h2c"] }),
            (.notAnUpgrade, { $0["connection"] = ["close"] }), (.version, { $0["sec-websocket-version"] = nil }),
            (.version, { $0["sec-websocket-version"] = ["8"] }), (.version, { $0["sec-websocket-version"] = ["13", "13"] }),
            (.key, { $0["sec-websocket-key"] = nil }), (.key, { $0["sec-websocket-key"] = ["short=="] }),
            (.key, { $0["sec-websocket-key"] = ["dGhlIHNhbXBsZSBub25jZQ==", "dGhlIHNhbXBsZSBub25jZQ=="] }),
            (.key, { $0["sec-websocket-key"] = ["dGhlIHNhbXBsZSBub25jZR=="] }),
            (.subprotocol, { $0["sec-websocket-protocol"] = ["other"] }),
        ]
        for (refusal, fault) in faults { #expect(throws: refusal) { try HandshakeTests.answer(fault) } }
        #expect(throws: HandshakeRefusal.method) { try HandshakeTests.answer({ _ in }, method: "POST") }
    }
}
