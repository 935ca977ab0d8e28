import TestSupport
import Testing

@testable import WebSocketProtocol

@Suite struct DeflateNegotiationTests {
    /// What a client offers, and what it is answered where no context is kept: by RFC 7692 §7.1.
    static let offers: [([String], String?)] = [
        (["permessage-deflate"], "permessage-deflate; server_no_context_takeover; client_no_context_takeover"),
        (["permessage-deflate; client_max_window_bits"], "permessage-deflate; server_no_context_takeover; client_no_context_takeover"),
        (
            ["permessage-deflate; client_max_window_bits=10"],
            "permessage-deflate; server_no_context_takeover; client_no_context_takeover; client_max_window_bits=10"
        ),
        (
            ["permessage-deflate; server_max_window_bits=8"],
            "permessage-deflate; server_no_context_takeover; client_no_context_takeover; server_max_window_bits=8"
        ),
        (
            ["permessage-deflate; server_max_window_bits=\"9\""],
            "permessage-deflate; server_no_context_takeover; client_no_context_takeover; server_max_window_bits=9"
        ),
        // The first offer that can be accepted, in whatever field it stands.
        (
            ["x-webkit-deflate-frame, permessage-deflate; unknown=1", "permessage-deflate; server_max_window_bits=12"],
            "permessage-deflate; server_no_context_takeover; client_no_context_takeover; server_max_window_bits=12"
        ),
        // Declined, which is no error.
        ([], nil), (["permessage-bzip2"], nil), (["permessage-deflate; unknown"], nil),
        (["permessage-deflate; server_max_window_bits"], nil), (["permessage-deflate; server_max_window_bits=7"], nil),
        (["permessage-deflate; server_max_window_bits=16"], nil), (["permessage-deflate; server_max_window_bits=08"], nil),
        (["permessage-deflate; server_max_window_bits=+9"], nil), (["permessage-deflate; client_max_window_bits=x"], nil),
        (["permessage-deflate; server_no_context_takeover=1"], nil),
        (["permessage-deflate; client_no_context_takeover; client_no_context_takeover"], nil),
        // No extension list at all.
        (["permessage-deflate; server_max_window_bits=\"9"], nil), (["permessage-deflate;"], nil), (["permessage-deflate x"], nil),
        (["="], nil),
    ]

    @Test func everyOfferGetsItsAnswer() {
        for (offer, answer) in DeflateNegotiationTests.offers { #expect(DeflatePolicy().accept(offer)?.header == answer, "\(offer)") }
    }

    @Test func contextsAreKeptWhereThePolicySaysSo() {
        var policy = DeflatePolicy()
        policy.keepsContext = true
        policy.clientMaxWindowBits = 11
        #expect(policy.accept(["permessage-deflate"])?.header == "permessage-deflate")
        #expect(policy.accept(["permessage-deflate; client_max_window_bits"])?.header == "permessage-deflate; client_max_window_bits=11")
        #expect(
            policy.accept(["permessage-deflate; server_no_context_takeover"])?.header == "permessage-deflate; server_no_context_takeover")
    }

    @Test func aClientConfirmsOnlyWhatItOffered() throws {
        let policy = DeflatePolicy()
        #expect(try policy.confirm([]) == nil)
        #expect(try policy.confirm([policy.accept([policy.offer])!.header]) == policy.accept([policy.offer]))
        for wrong in [
            "x", "permessage-deflate", "permessage-deflate; server_no_context_takeover; unknown",
            "permessage-deflate; server_no_context_takeover, permessage-deflate",
            "permessage-deflate; server_no_context_takeover; client_max_window_bits=3",
        ] {
            #expect(throws: WebSocketError.self, "\(wrong)") { try policy.confirm([wrong]) }
        }
    }
}

@Suite struct DeflateTests {
    static func parameters(keeping: Bool = false, bits: UInt8 = 15) -> DeflateParameters {
        var parameters = DeflateParameters()
        parameters.serverNoContextTakeover = !keeping
        parameters.clientNoContextTakeover = !keeping
        parameters.serverMaxWindowBits = bits
        parameters.clientMaxWindowBits = bits
        return parameters
    }

    /// A compressed frame as a client would send it, from compressed bytes.
    static func frame(_ payload: [UInt8], opcode: UInt8 = 1) -> [UInt8] {
        var bytes = WebSocketTests.frame(opcode, payload)
        bytes[0] |= 0x40
        return bytes
    }

    static let hello: Recorder.Entry = .message(Array("Hello".utf8), isText: true)

    /// The examples of RFC 7692 §7.2.3, in every split.
    @Test func theExamplesOfTheRFC() {
        let examples: [(String, [UInt8])] = [
            ("one block", [0xF2, 0x48, 0xCD, 0xC9, 0xC9, 0x07, 0x00]),
            ("a block without compression", [0x00, 0x05, 0x00, 0xFA, 0xFF, 0x48, 0x65, 0x6C, 0x6C, 0x6F, 0x00]),
            ("a block that says that it is the last", [0xF3, 0x48, 0xCD, 0xC9, 0xC9, 0x07, 0x00, 0x00]),
            ("two blocks", [0xF2, 0x48, 0x05, 0x00, 0x00, 0x00, 0xFF, 0xFF, 0xCA, 0xC9, 0xC9, 0x07, 0x00]),
        ]
        for (name, payload) in examples {
            for pieces in splits(of: DeflateTests.frame(payload)) {
                #expect(Recorder.run(pieces, deflate: PermessageDeflate(DeflateTests.parameters())) == [DeflateTests.hello], "\(name)")
            }
        }
    }

    @Test func fragmentsWithAPingBetween() {
        var first = WebSocketTests.frame(1, [0xF2, 0x48, 0xCD], final: false)
        first[0] |= 0x40
        let bytes = first + WebSocketTests.frame(9, [7]) + WebSocketTests.frame(0, [0xC9, 0xC9, 0x07, 0x00])
        for pieces in splits(of: bytes) {
            let entries = Recorder.run(pieces, deflate: PermessageDeflate(DeflateTests.parameters()))
            #expect(entries == [.sent([0x8A, 1, 7]), DeflateTests.hello])
        }
    }

    /// §7.2.3.2: the second "Hello" looks back at the first.
    @Test func aContextIsTakenOverOrForgotten() {
        let bytes = DeflateTests.frame([0xF2, 0x48, 0xCD, 0xC9, 0xC9, 0x07, 0x00]) + DeflateTests.frame([0xF2, 0x00, 0x11, 0x00, 0x00])
        let keeping = Recorder.run([bytes], deflate: PermessageDeflate(DeflateTests.parameters(keeping: true)))
        #expect(keeping == [DeflateTests.hello, DeflateTests.hello])
        let forgetting = Recorder.run([bytes], deflate: PermessageDeflate(DeflateTests.parameters()))
        #expect(forgetting.last == .ended(1007))
    }

    @Test func whatIsBrokenIsNamed() {
        let faults: [(String, [UInt8], UInt16)] = [
            ("no DEFLATE at all", DeflateTests.frame([0xFF, 0xFF, 0xFF]), 1007),
            ("an end inside a block", DeflateTests.frame([0xF2, 0x48, 0xCD]), 1007),
            ("text that is no text", DeflateTests.frame([0x00, 0x01, 0x00, 0xFE, 0xFF, 0xFF, 0x00]), 1007),
            ("a compressed ping", [0xC9, 0x80, 0, 0, 0, 0], 1002),
            ("a compressed continuation", WebSocketTests.frame(1, [0xF2], final: false) + [0xC0, 0x80, 0, 0, 0, 0], 1002),
            ("another reserved bit", [0xA1, 0x80, 0, 0, 0, 0], 1002),
        ]
        for (name, bytes, code) in faults {
            for pieces in splits(of: bytes) {
                #expect(Recorder.run(pieces, deflate: PermessageDeflate(DeflateTests.parameters())).last == .ended(code), "\(name)")
            }
        }
        #expect(Recorder.run([DeflateTests.frame([0xF2, 0x48, 0xCD, 0xC9, 0xC9, 0x07, 0x00])]).last == .ended(1002))
    }

    @Test func aBombIsRefusedWhileItGoesOff() {
        let zeros = [UInt8](repeating: 0, count: 10_000_000)
        var encoder = FrameEncoder()
        encoder.payload.append(contentsOf: zeros)
        let sender = PermessageDeflate(DeflateTests.parameters(), role: .client)
        let bomb = encoder.finished(.binary, deflate: sender, mask: 0x0102_0304)
        #expect(bomb.count < 12_000)
        let receiver = PermessageDeflate(DeflateTests.parameters())
        #expect(Recorder.run([bomb], limit: 20_000, deflate: receiver).last == .ended(1009))
        // Nothing of it is left over for the next connection.
        #expect(Recorder.run([DeflateTests.frame([0xF2, 0x48, 0xCD, 0xC9, 0xC9, 0x07, 0x00])], deflate: receiver) == [DeflateTests.hello])
        #expect(Recorder.run([bomb], limit: 10_000_000, deflate: receiver) == [.message(zeros, isText: false)])
    }

    /// A block costs microseconds and may be two bytes: a message has no more of them than a sender would make.
    @Test func blocksWithNothingInThemAreNotPaidFor() {
        let hello: [UInt8] = [0xF2, 0x48, 0xCD, 0xC9, 0xC9, 0x07, 0x00]
        let kinds: [(String, [UInt8])] = [
            ("the last of a stream", [0x03, 0x00]), ("not compressed", [0x00, 0x00, 0x00, 0xFF, 0xFF]),
            // Fixed codes, an end, and an empty block that comes to the end of the byte.
            ("fixed codes", [0x02, 0x00, 0x00, 0x00, 0xFF, 0xFF]),
        ]
        for (name, block) in kinds {
            func run(_ count: Int) -> [Recorder.Entry] {
                let payload = Array(repeatElement(block, count: count).joined()) + hello
                return Recorder.run([DeflateTests.frame(payload)], limit: 20_000, deflate: PermessageDeflate(DeflateTests.parameters()))
            }
            #expect(run(2) == [DeflateTests.hello], "\(name)")
            #expect(run(2_000).last == .ended(1007), "\(name)")
        }
    }

    /// A peer that a server has sent away cannot have it inflate what nobody will read: even broken bytes pass unseen.
    @Test func serverInflatesNothingBehindItsClose() {
        let broken = DeflateTests.frame([0xFF, 0xFF, 0xFF, 0xFF])
        var recorder = Recorder(WebSocket(messageLimit: 1_000, deflate: PermessageDeflate(DeflateTests.parameters())))
        recorder.close(.policyViolation)
        recorder.feed(broken + WebSocketTests.close(1000))
        #expect(recorder.entries.dropFirst() == [.ended(1000)])
        #expect(Recorder.run([broken], deflate: PermessageDeflate(DeflateTests.parameters())).last == .ended(1007))
    }

    /// Who flushes after every few words is no attacker.
    @Test func aSenderMayFlushOften() {
        let deflater = Deflater(windowBits: 15)
        var (payload, text): ([UInt8], [UInt8]) = ([], [])
        for number in 0..<20 {
            let words = Array("piece \(number) of a text that was written in a great many pieces".utf8).map { $0 ^ UInt8(number) }
            words.withUnsafeBytes { deflater.deflate($0, into: &payload) }
            payload += [0x00, 0x00, 0xFF, 0xFF]
            text += words
        }
        let frame = DeflateTests.frame(Array(payload.dropLast(4)), opcode: 2)
        let entries = Recorder.run([frame], limit: 4_096, deflate: PermessageDeflate(DeflateTests.parameters()))
        #expect(entries == [.message(text, isText: false)])
    }

    /// Both roles, both context takeovers, every window, messages of all sizes, many on one connection.
    @Test(arguments: [true, false]) func whatIsCompressedIsInflated(keeping: Bool) {
        var random = SeededRandom(seed: TestSeed.value)
        for bits in 8...15 as ClosedRange<UInt8> {
            let parameters = DeflateTests.parameters(keeping: keeping, bits: bits)
            // Also what is empty, twice in a row.
            let client = PermessageDeflate(parameters, role: .client, minimumBytes: bits % 2 == 0 ? 0 : 16)
            var recorder = Recorder(WebSocket(messageLimit: 200_000, deflate: PermessageDeflate(parameters)))
            var expected: [Recorder.Entry] = []
            for size in [0, 0, 1, 15, 16, 17, 255, 256, 1_000, 4_096, 70_000, 199_999] {
                let isNoise = random.chance(30)
                let message = (0..<size).map { UInt8(isNoise ? Int.random(in: 0...255, using: &random) : 65 + $0 % 7 + $0 / 1_000 % 9) }
                expected.append(.message(message, isText: false))
                var encoder = FrameEncoder()
                encoder.payload.append(contentsOf: message)
                recorder.feed(encoder.finished(.binary, deflate: client, mask: 0x0A0B_0C0D))
            }
            #expect(recorder.entries == expected, "\(bits) bits")
        }
    }

    @Test func aMessageToManyIsCompressedOnceForAllWhoAgreedOnTheSame() {
        let (a, b) = (PermessageDeflate(DeflateTests.parameters()), PermessageDeflate(DeflateTests.parameters(bits: 9)))
        var encoder = FrameEncoder()
        let text = String(repeating: "everybody hears this ", count: 40)
        encoder.payload.append(contentsOf: text.utf8)
        let message = SharedMessage(.text, &encoder)
        for deflate in [a, b, nil, a] {
            var frame: [UInt8] = []
            message.withFrame(for: deflate) { frame = Array($0) }
            #expect((frame.count < 200) == (deflate != nil))
            var recorder = Recorder(
                WebSocket(role: .client, messageLimit: 2_000, deflate: deflate.map { PermessageDeflate($0.parameters, role: .client) }))
            recorder.feed(frame)
            #expect(recorder.entries == [.message(Array(text.utf8), isText: true)])
        }
    }

    @Test func smallMessagesGoAsTheyAre() {
        var encoder = FrameEncoder()
        encoder.payload.append(contentsOf: [UInt8](repeating: 65, count: 255))
        let frame = encoder.finished(.text, deflate: PermessageDeflate(DeflateTests.parameters()))
        #expect(frame[0] == 0x81)
    }
}
