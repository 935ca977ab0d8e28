import Testing
import TestSupport
import WebSocketProtocol

@Suite struct WebSocketTests {
    static let mask: UInt32 = 0x1234_5678

    static func frame(_ opcode: UInt8, _ payload: [UInt8], final: Bool = true, mask: UInt32? = WebSocketTests.mask) -> [UInt8] {
        var bytes: [UInt8] = [(final ? 0x80 : 0) | opcode]
        let flag: UInt8 = mask == nil ? 0 : 0x80
        switch payload.count {
        case 0...125: bytes.append(flag | UInt8(payload.count))
        case 126...0xFFFF: bytes += [flag | 126, UInt8(payload.count >> 8), UInt8(payload.count & 255)]
        default: bytes += [flag | 127] + (0..<8).map { UInt8(truncatingIfNeeded: payload.count >> (56 - 8 * $0)) }
        }
        guard let mask else { return bytes + payload }
        let key = withUnsafeBytes(of: mask) { Array($0) }
        return bytes + key + payload.enumerated().map { $1 ^ key[$0 & 3] }
    }

    static func close(_ code: UInt16, _ reason: String = "") -> [UInt8] {
        frame(8, [UInt8(code >> 8), UInt8(code & 255)] + Array(reason.utf8))
    }

    /// Frames in, and what must come of them.
    static let examples: [(String, [UInt8], [Recorder.Entry])] = [
        ("a text", frame(1, Array("hello".utf8)), [.message(Array("hello".utf8), isText: true)]),
        ("an empty binary", frame(2, []), [.message([], isText: false)]),
        ("a 16-bit length", frame(2, [UInt8](repeating: 7, count: 300)), [.message([UInt8](repeating: 7, count: 300), isText: false)]),
        (
            "fragments with a ping between", frame(1, Array("he".utf8), final: false) + frame(9, [1, 2]) + frame(0, Array("llo".utf8)),
            [.sent([0x8A, 2, 1, 2]), .message(Array("hello".utf8), isText: true)]
        ),
        (
            "a character over two fragments", frame(1, [0xC3], final: false) + frame(0, [0xA4]), [.message([0xC3, 0xA4], isText: true)]
        ),
        ("a pong", frame(10, []), [.pong]),
        ("a close", close(1000, "bye"), [.sent(FrameEncoder.close(.normal)), .ended(1000)]),
        ("a close without a code", frame(8, []), [.sent([0x88, 0]), .ended(1005)]),
        ("what lies behind a close", close(1001) + frame(1, Array("no".utf8)), [.sent(FrameEncoder.close(.goingAway)), .ended(1001)]),
        ("a code of the application", close(3000), [.sent(FrameEncoder.close(CloseCode(3000))), .ended(3000)]),
        ("a restart", close(1012), [.sent(FrameEncoder.close(.serviceRestart)), .ended(1012)]),
    ]

    @Test func anIdleWebSocketIsSmall() { #expect(MemoryLayout<WebSocket>.size <= 24) }

    @Test func everySplitGivesTheSame() {
        for (name, bytes, expected) in WebSocketTests.examples {
            for pieces in splits(of: bytes) { #expect(Recorder.run(pieces) == expected, "\(name) in \(pieces.count) pieces") }
        }
    }

    /// Broken rules: each is answered with the close frame that names it.
    static let violations: [(String, [UInt8], UInt16)] = [
        ("no mask", frame(1, [65], mask: nil), 1002),
        ("a reserved bit", [0xC1, 0x80, 0, 0, 0, 0], 1002),
        ("a reserved opcode", frame(3, []), 1002),
        ("a reserved control opcode", frame(11, []), 1002),
        ("a fragmented ping", frame(9, [], final: false), 1002),
        ("a long ping", frame(9, [UInt8](repeating: 0, count: 126)), 1002),
        ("a continuation of nothing", frame(0, [65]), 1002),
        ("a message inside a message", frame(1, [65], final: false) + frame(1, [66]), 1002),
        ("a length in too many bytes", [0x81, 0xFE, 0, 5, 0, 0, 0, 0, 65, 65, 65, 65, 65], 1002),
        ("a length in far too many bytes", [0x81, 0xFF, 0, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0, 0], 1002),
        ("a length with its highest bit", [0x82, 0xFF, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], 1002),
        ("half a close code", frame(8, [3]), 1002),
        ("a close code that is none", close(999), 1002),
        ("a close code that must not be sent", close(1005), 1002),
        ("an unassigned close code", close(1016), 1002),
        ("a close reason that is no text", frame(8, [3, 232, 0xFF]), 1007),
        ("text that is no text", frame(1, [0xFF]), 1007),
        ("an overlong form", frame(1, [0xC0, 0xAF]), 1007),
        ("a surrogate", frame(1, [0xED, 0xA0, 0x80]), 1007),
        ("beyond Unicode", frame(1, [0xF4, 0x90, 0x80, 0x80]), 1007),
        ("text that ends inside a character", frame(1, [0xC3]), 1007),
        ("a message that is too long", frame(2, [UInt8](repeating: 0, count: 1_001)), 1009),
        (
            "fragments that are too long",
            frame(2, [UInt8](repeating: 0, count: 900), final: false) + frame(0, [UInt8](repeating: 0, count: 900)), 1009
        ),
    ]

    @Test func everyBrokenRuleIsNamedInACloseFrame() {
        for (name, bytes, code) in WebSocketTests.violations {
            for pieces in splits(of: bytes) {
                let entries = Recorder.run(pieces)
                guard case .sent(let close)? = entries.dropLast().last else {
                    Issue.record("\(name): no close frame")
                    continue
                }
                #expect(close[0] == 0x88 && UInt16(close[2]) << 8 | UInt16(close[3]) == code, "\(name)")
                #expect(entries.last == .ended(code), "\(name)")
            }
        }
    }

    @Test func whatCameWholeBeforeAnErrorIsDelivered() {
        let bytes = WebSocketTests.frame(1, [65]) + WebSocketTests.frame(9, [1]) + WebSocketTests.frame(3, [])
        let entries = Recorder.run([bytes])
        #expect(entries.prefix(2) == [.message([65], isText: true), .sent([0x8A, 1, 1])])
    }

    @Test func invalidTextIsNoticedBeforeItsFrameIsComplete() {
        let bytes = WebSocketTests.frame(1, [65, 0xFF] + [UInt8](repeating: 65, count: 100))
        let entries = Recorder.run([Array(bytes[..<8])])
        #expect(entries.last == .ended(1007))
    }

    /// The size is refused from the header, before a byte of the payload has come.
    @Test func aSizeIsRefusedFromTheHeader() {
        let bytes = WebSocketTests.frame(2, [UInt8](repeating: 0, count: 5_000))
        #expect(Recorder.run([Array(bytes[..<8])]).last == .ended(1009))
    }

    @Test func aClosingHandshakeFromThisSideEndsWithThePeersAnswer() {
        var recorder = Recorder()
        recorder.close(.goingAway, "later")
        recorder.close(.normal)
        #expect(recorder.entries == [.sent(FrameEncoder.close(.goingAway, "later"))])
        let isOpen = recorder.socket.isOpen
        #expect(!isOpen)
        // What was on its way is not looked into, and no ping is answered behind a close.
        recorder.feed(WebSocketTests.frame(9, [1]) + WebSocketTests.frame(1, [65]) + WebSocketTests.close(1001))
        #expect(recorder.entries.dropFirst() == [.ended(1001)])
    }

    /// A client's core and a server's core talk to each other (both roles obey the same rules).
    @Test func aClientTalksToAServer() {
        var random = SeededRandom(seed: TestSeed.value)
        for size in [0, 1, 3, 31, 32, 33, 125, 126, 127, 1_000, 65_535, 65_536, 70_000] {
            let payload = (0..<size).map { _ in UInt8.random(in: 0...127, using: &random) }
            let sent = FrameEncoder.frame(.text, payload, mask: UInt32.random(in: 1...UInt32.max, using: &random))
            var recorder = Recorder(WebSocket(messageLimit: 100_000))
            recorder.feed(sent)
            #expect(recorder.entries == [.message(payload, isText: true)])
        }
    }

    @Test func randomBytesNeverTrapAndSplitsDoNotMatter() {
        var random = SeededRandom(seed: TestSeed.value)
        for _ in 0..<3_000 {
            var bytes: [UInt8] = []
            for _ in 0..<Int.random(in: 1...5, using: &random) {
                let payload = (0..<Int.random(in: 0...20, using: &random)).map { _ in UInt8.random(in: 0...255, using: &random) }
                bytes += WebSocketTests.frame(UInt8.random(in: 0...11, using: &random), payload, final: random.chance(70))
            }
            if random.chance(30) { bytes[Int.random(in: 0..<bytes.count, using: &random)] ^= 1 << UInt8.random(in: 0...7, using: &random) }
            #expect(Recorder.run(bytes.map { [$0] }) == Recorder.run([bytes]))
        }
    }
}
