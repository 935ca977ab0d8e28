import Testing
import TestSupport

@testable import Fanout

@Suite struct RedisAddressTests {
    @Test(arguments: [
        ("redis://localhost", "localhost:6379", 0), ("redis://127.0.0.1:7000/3", "127.0.0.1:7000", 3),
        ("redis://u:p%40ss@h:1/", "h:1", 0), ("redis://:p@[::1]:6379", "[::1]:6379", 0), ("redis://a,b:2,c", "a:6379,b:2,c:6379", 0),
        ("redis+sentinel://a,b:2/main/4", "main by a:26379,b:2", 4),
    ]) func anAddressIsUnderstood(_ text: String, _ shown: String, _ database: Int) throws {
        let address = try RedisAddress(text)
        #expect(address.description == shown)
        #expect(address.database == database)
    }

    @Test func whatItHolds() throws {
        let address = try RedisAddress("redis+sentinel://bob:p%40ss@s1:5/main?prefix=shop&sentinel-password=x")
        #expect(address.credentials == RedisAddress.Credentials(user: "bob", password: "p@ss"))
        #expect(address.sentinelCredentials == RedisAddress.Credentials(user: nil, password: "x"))
        #expect(address.kind == .sentinel(master: "main"))
        #expect(address.channel == "shop:0:v1")
    }

    @Test(arguments: [
        "", "redis:", "http://a", "rediss://a", "redis://", "redis://a:0", "redis://a:x", "redis://a,,b", "redis://a/x", "redis://a/1/2",
        "redis://a,b/1", "redis+sentinel://a", "redis+sentinel://a/", "redis://p@a", "redis://a?x=1", "redis://a?prefix", "redis://:%zz@a",
        "redis://a/-1",
    ]) func whatIsNoneIsRefused(_ text: String) {
        #expect(throws: RedisAddress.Malformed.self) { try RedisAddress(text) }
    }

    /// What is wrong goes into a log: nothing of a password may stand in it, however it was written.
    @Test(arguments: [
        "redis://:se?cret@a", "redis://user:secret", "redis://:%secret@a", "redis://:se/cret@a", "redis://:a@secret@a:x",
        "redis://:secret@a:x", "redis+sentinel://:secret@a", "redis://a?sentinel-password=secret&x=1", "redis://a?secret",
    ]) func noRefusalShowsAPassword(_ text: String) {
        do {
            let address = try RedisAddress(text)
            #expect(!address.description.contains("cret"), "\(address)")
        } catch {
            #expect(!error.reason.contains("cret"), "\(error.reason)")
        }
    }
}

@Suite struct RedisReaderTests {
    @Test func repliesMayComeInAnyPieces() throws {
        let stream = Array("+OK\r\n:7\r\n$-1\r\n-ERR no\r\n*3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$3\r\na\r\n\r\n*0\r\n".utf8)
        let wanted: [RedisReply] = [
            .status("OK"), .number(7), .null, .error("ERR no"),
            .array([.bytes(Array("message".utf8)), .bytes([0x63]), .bytes([0x61, 0x0D, 0x0A])]),
            .array([]),
        ]
        for pieces in splits(of: stream) {
            let reader = RedisReader()
            var replies: [RedisReply] = []
            for piece in pieces {
                try piece.withUnsafeBytes { try reader.receive($0) }
                while let reply = try reader.next() { replies.append(reply) }
            }
            #expect(replies == wanted)
        }
    }

    /// Thirteen bytes are not worth sixteen gigabytes.
    @Test func anArrayThatIsOnlyAnnouncedCostsNothing() throws {
        for count in [1_025, 2_147_483_647] {
            for head in ["", "*2\r\n:1\r\n"] {
                let reader = RedisReader()
                let error = #expect(throws: RedisReader.Broken.self) {
                    try Array("\(head)*\(count)\r\n".utf8).withUnsafeBytes { try reader.receive($0) }
                    _ = try reader.next()
                }
                #expect(error?.reason.contains("too many elements") == true)
            }
        }
        let reader = RedisReader()
        try Array("*1024\r\n\(String(repeating: ":1\r\n", count: 1_024))".utf8).withUnsafeBytes { try reader.receive($0) }
        #expect(try reader.next() == .array(Array(repeating: .number(1), count: 1_024)))
    }

    @Test(arguments: ["?\r\n", "HTTP/1.1 400 Bad Request\r\n", "*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n:1\r\n"])
    func whatIsNoReplyIsRefused(_ text: String) {
        let reader = RedisReader()
        #expect(throws: RedisReader.Broken.self) {
            try Array(text.utf8).withUnsafeBytes { try reader.receive($0) }
            _ = try reader.next()
        }
    }

    @Test func aReplyWithoutEndIsRefused() {
        let reader = RedisReader()
        #expect(throws: RedisReader.Broken.self) {
            try Array("$500000000\r\n".utf8).withUnsafeBytes { try reader.receive($0) }
            for _ in 0..<20 {
                try [UInt8](repeating: 0x61, count: 65_536).withUnsafeBytes { try reader.receive($0) }
                _ = try reader.next()
            }
        }
    }

    /// hiredis takes elements as they come: what is limited is the reply, and not what of it is yet to be read.
    @Test func aReplyOfManyElementsIsRefused() {
        let reader = RedisReader()
        let block = Array("*1024\r\n\(String(repeating: ":1\r\n", count: 1_024))".utf8)
        var fed = 0
        #expect(throws: RedisReader.Broken.self) {
            try Array("*1024\r\n".utf8).withUnsafeBytes { try reader.receive($0) }
            for _ in 0..<1_000 {
                try block.withUnsafeBytes { try reader.receive($0) }
                _ = try reader.next()
                fed += block.count
            }
        }
        #expect(fed <= RedisReader.limit)
        // Many replies are not one.
        let another = RedisReader()
        #expect(throws: Never.self) {
            for _ in 0..<1_000 {
                try block.withUnsafeBytes { try another.receive($0) }
                while try another.next() != nil {}
            }
        }
    }

    @Test func wordsAreShortAndASCII() throws {
        let reader = RedisReader()
        try Array("-ERR \(String(repeating: "\u{301}", count: 5_000))\r\n".utf8).withUnsafeBytes { try reader.receive($0) }
        guard case .error(let words) = try reader.next() else {
            Issue.record("no error")
            return
        }
        #expect(words.hasPrefix("ERR ??") && words.utf8.count == 500)
        #expect(RedisReply.bytes(Array("é".utf8)).text == "??")
    }

    @Test func anErrorSaysWhatItMeans() {
        #expect(RedisFailure(answer: "WRONGPASS invalid username-password pair").isRefusal)
        let (there, here) = (RedisFailure(answer: "MOVED 3999 127.0.0.1:6381").movedTo, RedisFailure(answer: "MOVED 3999 :6381").movedTo)
        #expect(there?.name == "127.0.0.1" && there?.port == 6_381)
        #expect(here?.name == nil && here?.port == 6_381)
        #expect(RedisFailure(answer: "ERR x").movedTo == nil)
    }
}
