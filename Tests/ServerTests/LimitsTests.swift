import EventLoop
import HTTPTypes
import Testing

@testable import Server

/// A bucket that `#expect` may ask, which changes it.
private final class Bucket {
    private var bucket = TokenBucket()
    func take(_ cost: Int = 1, at now: UInt32, _ rate: Rate) -> Bool { bucket.take(cost, at: now, rate) }
    func isFull(at now: UInt32, _ rate: Rate) -> Bool { bucket.isFull(at: now, rate) }
}

@Suite struct TokenBucketTests {
    @Test func aBurstAtOnceAndTheRateInTheLongRun() {
        let rate = Rate(perSecond: 10, burst: 5)
        for start: UInt32 in [0, 1_000_000, .max - 100] {
            let bucket = Bucket()
            for _ in 0..<5 { #expect(bucket.take(at: start, rate)) }
            #expect(!bucket.take(at: start, rate))
            #expect(!bucket.take(at: start &+ 98, rate))
            #expect(bucket.take(at: start &+ 101, rate))
            #expect(!bucket.take(at: start &+ 101, rate))
            var taken = 0
            for step in 0..<1_000 { if bucket.take(at: start &+ 101 &+ UInt32(step * 10), rate) { taken += 1 } }
            #expect((98...100).contains(taken), "10 s at 10 a second")
            #expect(bucket.isFull(at: start &+ 100_000, rate))
        }
    }

    @Test func whatCostsMoreTakesMore() {
        let bucket = Bucket()
        let rate = Rate(perSecond: 1_000, burst: 10_000)
        #expect(bucket.take(9_000, at: 5, rate))
        #expect(!bucket.take(2_000, at: 5, rate))
        #expect(bucket.take(1_000, at: 5, rate))
        #expect(bucket.take(2_000, at: 2_010, rate))
        #expect(Bucket().isFull(at: 0, rate))
    }

    /// What was counted a little later by another thread is no wrap of the clock, and weeks are.
    @Test func aClockThatIsBehindRefillsNothingAndOneThatLappedEverything() {
        let rate = Rate(perSecond: 10, burst: 5)
        let bucket = Bucket()
        #expect(bucket.take(5, at: 1_000, rate))
        #expect(!bucket.take(at: 999, rate))
        #expect(bucket.take(5, at: 1_000 &+ 3_000_000_000, rate))
    }

    /// Many a millisecond are as exact as few a minute.
    @Test func fastRatesAreNotSlowedByTheClocksGrain() {
        for perSecond in [0.2, 20, 1_000, 20_000] {
            let rate = Rate(perSecond: perSecond, burst: perSecond * 2)
            let bucket = Bucket()
            var taken = 0
            for millisecond in 0..<10_000 as Range<UInt32> {
                for _ in 0..<25 { if bucket.take(at: 77 &+ millisecond, rate) { taken += 1 } }
            }
            #expect(abs(Double(taken) - perSecond * 12) <= max(1, perSecond * 0.01), "\(perSecond) a second: \(taken) in 10 s")
        }
    }
}

@Suite struct AddressTests {
    static func address(_ text: String) -> SocketAddress { SocketAddress(text.contains(":") ? "[\(text)]:1" : "\(text):1")! }

    @Test func networksOf64BitsAreOne() {
        func group(_ text: String) -> AddressGroup { AddressGroup(AddressTests.address(text)) }
        #expect(group("2001:db8:1:2::1") == group("2001:db8:1:2:ffff::9"))
        #expect(group("2001:db8:1:2::1") != group("2001:db8:1:3::1"))
        #expect(group("192.0.2.1") != group("192.0.2.2"))
        #expect(group("::ffff:192.0.2.1") == group("192.0.2.1"))
    }

    @Test func networksContainWhatTheySay() {
        let cases: [(String, String, Bool)] = [
            ("10.0.0.0/8", "10.255.0.1", true), ("10.0.0.0/8", "11.0.0.1", false), ("192.0.2.1", "192.0.2.1", true),
            ("192.0.2.1", "192.0.2.2", false), ("0.0.0.0/0", "8.8.8.8", true), ("0.0.0.0/0", "::1", false),
            ("2001:db8::/32", "2001:db8:ffff::1", true), ("2001:db8::/32", "2001:db9::1", false), ("2001:db8::8/125", "2001:db8::f", true),
            ("2001:db8::8/125", "2001:db8::10", false), ("::/0", "2001:db8::1", true),
            ("192.0.2.0/24", "::ffff:192.0.2.1", true), ("::ffff:192.0.2.0/120", "192.0.2.1", true),
            ("::ffff:192.0.2.0/120", "192.0.3.1", false), ("::ffff:192.0.2.1", "192.0.2.1", true),
        ]
        for (network, address, isInside) in cases {
            #expect(Network(network)?.contains(AddressTests.address(address)) == isInside, "\(network) \(address)")
        }
        for wrong in [
            "", "10.0.0.0/33", "10.0.0.0/-1", "::/129", "example.org", "10.0.0/8", "10.0.0.0/8/8", "10.0.0.0/", "::ffff:10.0.0.0/95",
        ] {
            #expect(Network(wrong) == nil, "\(wrong)")
        }
    }

    /// What the proxies say, in which of the fields they are to say it, and who it is then.
    static let forwarded: [(name: String, field: String, fields: [(String, String)], peer: String, client: String)] = [
        ("no proxy is believed that is not known", "X-Forwarded-For", [("X-Forwarded-For", "192.0.2.1")], "198.51.100.1", "198.51.100.1"),
        ("nothing said", "X-Forwarded-For", [], "10.0.0.1", "10.0.0.1"),
        ("one hop", "X-Forwarded-For", [("X-Forwarded-For", "192.0.2.1")], "10.0.0.1", "192.0.2.1"),
        (
            "a chain", "X-Forwarded-For", [("X-Forwarded-For", "192.0.2.1, 10.0.0.2"), ("X-Forwarded-For", "10.0.0.3")], "10.0.0.1",
            "192.0.2.1"
        ),
        ("claimed by the client", "X-Forwarded-For", [("X-Forwarded-For", "203.0.113.1, 192.0.2.1")], "10.0.0.1", "192.0.2.1"),
        ("only proxies", "X-Forwarded-For", [("X-Forwarded-For", "10.0.0.3, 10.0.0.2")], "10.0.0.1", "10.0.0.3"),
        ("a name", "X-Forwarded-For", [("X-Forwarded-For", "unknown")], "10.0.0.1", "10.0.0.1"),
        ("an IPv4 proxy in IPv6", "X-Forwarded-For", [("X-Forwarded-For", "192.0.2.1")], "::ffff:10.0.0.1", "192.0.2.1"),
        ("a hidden one behind a proxy", "Forwarded", [("Forwarded", "for=_hidden, for=10.0.0.2")], "10.0.0.1", "10.0.0.2"),
        ("with a port", "Forwarded", [("Forwarded", #"proto=https; for="192.0.2.1:99""#)], "10.0.0.1", "192.0.2.1"),
        ("IPv6 in brackets", "Forwarded", [("Forwarded", #"for="[2001:db8::1]:99""#)], "10.0.0.1", "2001:db8::1"),
        ("IPv6 without", "X-Forwarded-For", [("X-Forwarded-For", "2001:db8::1")], "10.0.0.1", "2001:db8::1"),
        ("this machine by its name", "X-Forwarded-For", [("X-Forwarded-For", "localhost")], "10.0.0.1", "10.0.0.1"),
        ("a field of their own", "X-Real-IP", [("X-Real-IP", "192.0.2.1"), ("X-Forwarded-For", "203.0.113.1")], "10.0.0.1", "192.0.2.1"),
        (
            "another field is the client's own", "X-Forwarded-For", [("X-Forwarded-For", "192.0.2.1"), ("Forwarded", "for=203.0.113.1")],
            "10.0.0.1", "192.0.2.1"
        ),
        ("also where theirs is missing", "X-Forwarded-For", [("Forwarded", "for=203.0.113.1")], "10.0.0.1", "10.0.0.1"),
        (
            "and the other way round", "Forwarded", [("X-Forwarded-For", "203.0.113.1"), ("Forwarded", "For=192.0.2.1;by=10.0.0.1")],
            "10.0.0.1", "192.0.2.1"
        ),
    ]

    @Test func proxiesAreBelievedAsFarAsTheyAreKnown() {
        for (name, field, fields, peer, client) in AddressTests.forwarded {
            var all = HTTPFields()
            for (field, value) in fields { all.append(HTTPField(name: HTTPField.Name(field)!, value: value)) }
            let found = ClientAddress.find(
                all, peer: AddressTests.address(peer), trusted: [Network("10.0.0.0/8")!], in: HTTPField.Name(field)!)
            #expect(found.host == AddressTests.address(client).host, "\(name): \(found)")
        }
    }

    @Test func proxiesThatNameTheirClientsElsewhereAreFound() {
        func unreadField(_ sent: String..., in read: String) -> String? {
            var fields = HTTPFields()
            for name in sent { fields[HTTPField.Name(name)!] = "192.0.2.1" }
            return ClientAddress.unreadField(fields, in: HTTPField.Name(read)!)?.rawName
        }
        #expect(unreadField("Forwarded", in: "X-Forwarded-For") == "Forwarded")
        #expect(unreadField("X-Forwarded-For", in: "x-real-ip") == "X-Forwarded-For")
        #expect(unreadField("Forwarded", "X-Forwarded-For", in: "X-Forwarded-For") == nil)
        #expect(unreadField("Via", in: "X-Forwarded-For") == nil)
    }

    @Test func addressesThatAreGoneAreForgottenAndCountsComeBack() {
        var settings = LimitSettings()
        settings.connectionsPerAddress = 2
        settings.connections = 3
        let limits = AddressLimits(settings)
        let group = AddressGroup(rawValue: 0xC000_0201)
        #expect(limits.connect(group) == .granted)
        #expect(limits.connect(group) == .granted)
        #expect(limits.connect(group) == .refused(seconds: 30))
        limits.disconnect(group)
        #expect(limits.connect(group) == .granted)
        for _ in 0..<3 { #expect(limits.open()) }
        #expect(!limits.open())
        limits.close()
        #expect(limits.open())
        // A hundred thousand addresses that come and go leave nothing behind, and take nobody else's count along.
        for number in 0..<100_000 as Range<UInt64> {
            _ = limits.connect(AddressGroup(rawValue: 1 << 40 + number))
            limits.disconnect(AddressGroup(rawValue: 1 << 40 + number))
        }
        #expect(limits.addressCount < 10_000)
        #expect(limits.connect(group) == .refused(seconds: 30))
    }
}
