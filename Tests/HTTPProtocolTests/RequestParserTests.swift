import HTTPProtocol
import HTTPTypes
import Testing
import TestSupport

@Suite struct RequestParserTests {
    /// What came of a stream of bytes, in order.
    enum Outcome: Equatable {
        case request(String, String, [UInt8], keepsAlive: Bool)
        case expectsContinue
        case refused(Int)
    }

    /// - Parameter mostBody: what the parser is told of each head that announces content.
    static func parse(_ pieces: [[UInt8]], limits: HTTPLimits = HTTPLimits(), mostBody: Int = .max) -> [Outcome] {
        var parser = RequestParser(limits: limits)
        var outcomes: [Outcome] = []
        for piece in pieces {
            parser.receive(piece.span.bytes)
            while true {
                do throws(HTTPRefusal) {
                    let event = try parser.next()
                    if event == .needsMore { break }
                    switch event {
                    case .request(let parsed):
                        outcomes.append(
                            .request(parsed.request.method.rawValue, parsed.request.path ?? "", parsed.body, keepsAlive: parsed.keepsAlive))
                    case .expectsContinue: outcomes.append(.expectsContinue)
                    case .head: parser.limitBody(to: mostBody)
                    case .needsMore: break
                    }
                } catch {
                    outcomes.append(.refused(error.status.code))
                    return outcomes
                }
            }
        }
        return outcomes
    }

    static let examples: [(String, [Outcome])] = [
        ("GET / HTTP/1.1\r\nHost: a\r\n\r\n", [.request("GET", "/", [], keepsAlive: true)]),
        ("GET / HTTP/1.0\r\n\r\n", [.request("GET", "/", [], keepsAlive: false)]),
        ("GET /a?b=c HTTP/1.1\r\nhost:a:80\r\nConnection: close\r\n\r\n", [.request("GET", "/a?b=c", [], keepsAlive: false)]),
        ("\r\nPOST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc", [.request("POST", "/x", Array("abc".utf8), keepsAlive: true)]),
        (
            "POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3;a=b\r\nabc\r\n0A\r\n0123456789\r\n0\r\nX: y\r\n\r\n",
            [.request("POST", "/x", Array("abc0123456789".utf8), keepsAlive: true)]
        ),
        (
            "GET /1 HTTP/1.1\r\nHost: a\r\n\r\nPOST /2 HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhiGET /3 HTTP/1.1\r\nHost: a\r\n\r\n",
            [
                .request("GET", "/1", [], keepsAlive: true), .request("POST", "/2", Array("hi".utf8), keepsAlive: true),
                .request("GET", "/3", [], keepsAlive: true),
            ]
        ),
        ("GET http://a/b HTTP/1.1\r\nHost: A\r\n\r\n", [.request("GET", "/b", [], keepsAlive: true)]),
        ("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", [.request("OPTIONS", "*", [], keepsAlive: true)]),
    ]

    @Test func everySplitGivesTheSameRequests() {
        for (text, expected) in RequestParserTests.examples {
            for pieces in splits(of: Array(text.utf8)) {
                #expect(RequestParserTests.parse(pieces) == expected, "\(text.debugDescription) in \(pieces.count) pieces")
            }
        }
    }

    @Test func continueIsAskedForOnlyWhileTheBodyIsAwaited() {
        let head = Array("POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n".utf8)
        #expect(
            RequestParserTests.parse([head, Array("ok".utf8)]) == [
                .expectsContinue, .request("POST", "/", Array("ok".utf8), keepsAlive: true),
            ])
        #expect(RequestParserTests.parse([head + Array("ok".utf8)]) == [.request("POST", "/", Array("ok".utf8), keepsAlive: true)])
    }

    /// What two parsers could read differently, and what is too much: name, bytes, status.
    static let refusals: [(String, String, Int)] = [
        ("nothing but empty lines", "\r\n\r\n", 400),
        ("both length headers", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
        ("two equal lengths", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\nabc", 400),
        ("two different lengths", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabc", 400),
        ("lengths in a list", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3, 3\r\n\r\nabc", 400),
        ("a signed length", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +3\r\n\r\nabc", 400),
        ("a hexadecimal length", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0x3\r\n\r\nabc", 400),
        ("an empty length", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length:\r\n\r\nabc", 400),
        ("a length that overflows", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999\r\n\r\n", 400),
        ("chunked twice", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
        ("chunked behind another coding", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", 501),
        ("an odd name for chunked", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n", 501),
        ("chunked in HTTP/1.0", "POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
        ("a space before the colon", "GET / HTTP/1.1\r\nHost : a\r\n\r\n", 400),
        ("a folded line", "GET / HTTP/1.1\r\nHost: a\r\nX: b\r\n c\r\n\r\n", 400),
        ("a folded first line", "GET / HTTP/1.1\r\n Host: a\r\n\r\n", 400),
        ("a bare LF in the head", "GET / HTTP/1.1\nHost: a\n\n", 400),
        ("a bare LF at a line's end", "GET / HTTP/1.1\r\nHost: a\nX: b\r\n\r\n", 400),
        ("a bare CR", "GET / HTTP/1.1\r\nHost: a\rX: b\r\n\r\n", 400),
        ("a NUL in a value", "GET / HTTP/1.1\r\nHost: a\r\nX: b\0c\r\n\r\n", 400),
        ("a control character in a value", "GET / HTTP/1.1\r\nHost: a\r\nX: b\u{1}c\r\n\r\n", 400),
        ("no Host", "GET / HTTP/1.1\r\n\r\n", 400),
        ("two Hosts", "GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", 400),
        ("a Host that is a list", "GET / HTTP/1.1\r\nHost: a, b\r\n\r\n", 400),
        ("a Host with a user", "GET / HTTP/1.1\r\nHost: a@b\r\n\r\n", 400),
        ("a target with a user", "GET http://u@b/ HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        ("a target of two hosts", "GET http://b,c/ HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        ("a line without a colon", "GET / HTTP/1.1\r\nHost: a\r\nnonsense\r\n\r\n", 400),
        ("an empty name", "GET / HTTP/1.1\r\nHost: a\r\n: b\r\n\r\n", 400),
        ("a name with a space", "GET / HTTP/1.1\r\nHost: a\r\nX Y: b\r\n\r\n", 400),
        ("two spaces in the request line", "GET  / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        ("a tab in the request line", "GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        ("no version", "GET /\r\nHost: a\r\n\r\n", 400),
        ("a lower-case version", "GET / http/1.1\r\nHost: a\r\n\r\n", 400),
        ("HTTP/2 in HTTP/1", "GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505),
        ("the HTTP/2 preface", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
        ("a target without a slash", "GET a HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        ("a target with a fragment", "GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        ("raw bytes in the target", "GET /ä HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        ("an unknown expectation", "POST / HTTP/1.1\r\nHost: a\r\nExpect: more\r\nContent-Length: 1\r\n\r\n", 417),
        ("a chunk size that is none", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n", 400),
        ("a chunk size with a prefix", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0x3\r\nabc\r\n0\r\n\r\n", 400),
        ("a chunk longer than it says", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabcd\r\n0\r\n\r\n", 400),
        ("a chunk ended by LF", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\nabc\r\n0\r\n\r\n", 400),
        ("a chunk size that overflows", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nFFFFFFFFFFFFFFFFF\r\n", 400),
        ("TLS on a plain port", "\u{16}\u{3}\u{1}\u{2}\u{0}\r\n\r\n", 400),
    ]

    @Test func everyAmbiguityIsRefusedWhateverTheSplit() {
        for (name, text, status) in RequestParserTests.refusals {
            for pieces in splits(of: Array(text.utf8)) {
                #expect(RequestParserTests.parse(pieces).last == .refused(status), "\(name)")
            }
        }
    }

    @Test func limitsAreKept() {
        let limits = HTTPLimits(line: 64, head: 256, fields: 4, body: 16)
        let line = Array("GET /\(String(repeating: "a", count: 80)) HTTP/1.1\r\nHost: a\r\n\r\n".utf8)
        let head = Array("GET / HTTP/1.1\r\nHost: a\r\nX: \(String(repeating: "a", count: 300))\r\n\r\n".utf8)
        let many = Array("GET / HTTP/1.1\r\nHost: a\r\nA: 1\r\nB: 1\r\nC: 1\r\nD: 1\r\n\r\n".utf8)
        let body = Array("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 17\r\n\r\n".utf8)
        let chunks = Array("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n9\r\n123456789\r\n8\r\n".utf8)
        for (bytes, status) in [(line, 414), (head, 431), (many, 431), (body, 413), (chunks, 413)] {
            for pieces in splits(of: bytes) { #expect(RequestParserTests.parse(pieces, limits: limits).last == .refused(status)) }
        }
    }

    @Test func aLimitThatIsSetAtTheHeadHoldsForItsContentAlone() {
        let framings = ["Content-Length: 5\r\n\r\nhello", "Transfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n"]
        for framing in framings {
            let bytes = Array("POST / HTTP/1.1\r\nHost: a\r\n\(framing)".utf8)
            for pieces in splits(of: bytes + bytes) {
                let answered = Outcome.request("POST", "/", Array("hello".utf8), keepsAlive: true)
                #expect(RequestParserTests.parse(pieces, mostBody: 5) == [answered, answered])
                #expect(RequestParserTests.parse(pieces, mostBody: 4) == [.refused(413)])
            }
        }
        let expecting = Array("POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n".utf8)
        #expect(RequestParserTests.parse([expecting], mostBody: 4) == [.refused(413)], "nobody is told to send what is refused")
    }

    /// The head lies there as it came while its content is awaited, and is read again.
    @Test func aHeadIsTheSameAfterItsContent() throws {
        let text = "POST /a?b HTTP/1.1\r\nHost: a\r\nX-One: 1\r\nContent-Length: 2\r\n\r\nhiGET / HTTP/1.1\r\nHost: b\r\n\r\n"
        for pieces in splits(of: Array(text.utf8)) {
            var (parser, heads, requests) = (RequestParser(), [HTTPRequest](), [ParsedRequest]())
            for piece in pieces {
                parser.receive(piece.span.bytes)
                reading: while true {
                    switch try parser.next() {
                    case .needsMore: break reading
                    case .head(let head): heads.append(head)
                    case .expectsContinue: Issue.record("nobody asked for that")
                    case .request(let request): requests.append(request)
                    }
                }
            }
            #expect(heads == [requests.first?.request])
            #expect(requests.map(\.request.authority) == ["a", "b"])
            #expect(requests.first?.fields[values: HTTPField.Name("X-One")!] == ["1"])
        }
    }

    @Test func aRefusalIsFinal() {
        var parser = RequestParser()
        parser.receive(Array("nonsense\r\n\r\n".utf8).span.bytes)
        #expect(throws: HTTPRefusal.self) { try parser.next() }
        parser.receive(Array("GET / HTTP/1.1\r\nHost: a\r\n\r\n".utf8).span.bytes)
        #expect(throws: HTTPRefusal.self) { try parser.next() }
    }

    /// Bytes without meaning never trap, and never give another answer when they come in other pieces.
    @Test func randomBytesGiveOneAnswer() {
        var random = SeededRandom(seed: TestSeed.value)
        let words = [
            "GET", " ", "/", "HTTP/1.1", "\r\n", "\r", "\n", "Host: a", "Content-Length: ", "3", "abc", ":", "\0",
            "Transfer-Encoding: chunked", "0", "\r\n\r\n",
        ]
        for _ in 0..<3_000 {
            let text = (0..<Int.random(in: 1...14, using: &random)).map { _ in words.randomElement(using: &random)! }.joined()
            let bytes = Array(text.utf8)
            let whole = RequestParserTests.parse([bytes])
            #expect(
                RequestParserTests.parse(bytes.map { [$0] }).filter { $0 != .expectsContinue } == whole.filter { $0 != .expectsContinue },
                "\(text.debugDescription)")
        }
    }
}

@Suite struct ResponseParserTests {
    @Test func everySplitGivesTheSameResponse() throws {
        let text = "HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
        for pieces in splits(of: Array(text.utf8)) {
            var parser = ResponseParser(answering: .get)
            var found: [ParsedResponse] = []
            for piece in pieces {
                parser.receive(piece.span.bytes)
                if let response = try parser.next() { found.append(response) }
            }
            #expect(found.map(\.body) == [Array("hello".utf8)])
            #expect(found.first?.response.status.code == 200)
        }
    }

    @Test func aResponseMayEndWithTheConnection() throws {
        var parser = ResponseParser(answering: .get)
        parser.receive(Array("HTTP/1.1 200 OK\r\n\r\nall of it".utf8).span.bytes)
        #expect(try parser.next() == nil)
        #expect(try parser.end()?.body == Array("all of it".utf8))
    }

    @Test func aClientsRequestIsReadByTheServersParser() throws {
        var bytes: [UInt8] = []
        let request = HTTPRequest(method: .post, scheme: nil, authority: "a:1", path: "/x", headerFields: [.contentType: "text/plain"])
        MessageEncoder.encode(request, body: Array("hi".utf8), into: &bytes)
        #expect(RequestParserTests.parse([bytes]) == [.request("POST", "/x", Array("hi".utf8), keepsAlive: true)])
    }
}

@Suite struct AbsoluteFormTests {
    /// RFC 9112 §3.2.2.
    @Test(arguments: [("/x", "a"), ("http://b:81/x", "b:81"), ("HTTPS://B", "B"), ("http://a/x", "a")])
    func authorityOfTheTargetTakesThePlaceOfHost(target: String, authority: String) throws {
        var parser = RequestParser(limits: HTTPLimits())
        parser.receive(Array("GET \(target) HTTP/1.1\r\nHost: a\r\n\r\n".utf8).span.bytes)
        guard case .request(let parsed) = try parser.next() else {
            Issue.record("no request")
            return
        }
        #expect(parsed.request.authority == authority)
    }
}

@Suite struct ServerSentEventTests {
    @Test func eventHasIdTypeAndData() {
        var bytes: [UInt8] = []
        ServerSentEvent.encode(id: 7, event: "x", into: &bytes) { $0.append(contentsOf: "a".utf8) }
        ServerSentEvent.encode(into: &bytes) { $0.append(contentsOf: "b".utf8) }
        #expect(String(decoding: bytes, as: UTF8.self) == "id: 7\nevent: x\ndata: a\n\ndata: b\n\n")
    }
}

@Suite struct ChunkTests {
    @Test(arguments: [1, 15, 16, 4_095, 4_096, 100_000]) func chunkIsReadByTheParserOfAnswers(length: Int) throws {
        let content = (0..<length).map { UInt8(truncatingIfNeeded: $0) }
        var bytes = Array("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".utf8)
        for _ in 0..<2 { Chunk.encode(into: &bytes) { $0.append(contentsOf: content) } }
        bytes += Chunk.last
        var parser = ResponseParser(answering: .get)
        parser.receive(bytes.span.bytes)
        #expect(try parser.next()?.body == content + content)
    }
}
