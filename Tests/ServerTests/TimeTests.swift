import Foundation
import QueueEngine
import Testing
import TestSupport

@testable import Server

/// Times of RFC 3339 are read as Foundation, which is another one's, writes them; what no calendar has is refused.
@Suite struct TimeTests {
    @Test func timesAreReadAsFoundationWritesThem() {
        var random = SeededRandom(seed: TestSeed.value)
        let style = Date.ISO8601FormatStyle()
        for _ in 0..<2_000 {
            let seconds = Int64.random(in: 1..<253_402_300_800, using: &random)
            let text = Date(timeIntervalSince1970: Double(seconds)).formatted(style)
            #expect(Timestamp(rfc3339: text)?.microseconds == seconds * 1_000_000, "\(text)")
        }
    }

    @Test func offsetsAreTakenOffAndFractionsCutToMilliseconds() {
        let noon = Timestamp(rfc3339: "2030-01-31T12:00:00Z")!
        for text in ["2030-01-31T13:30:00+01:30", "2030-01-31t12:00:00z", "2030-01-30T12:01:00-23:59", "2030-02-01T11:59:00+23:59"] {
            #expect(Timestamp(rfc3339: text) == noon, "\(text)")
        }
        #expect(Timestamp(rfc3339: "2030-01-31T12:00:00.5Z") == noon + .milliseconds(500))
        #expect(Timestamp(rfc3339: "2030-01-31T12:00:00.123999999-00:00") == noon + .milliseconds(123))
        #expect(Timestamp(rfc3339: "2028-02-29T00:00:00Z") != nil && Timestamp(rfc3339: "2400-02-29T00:00:00Z") != nil)
    }

    @Test(arguments: [
        "2030-02-30T12:00:00Z", "2030-02-29T12:00:00Z", "2100-02-29T00:00:00Z", "2030-04-31T12:00:00Z", "2030-13-01T12:00:00Z",
        "2030-00-01T12:00:00Z", "2030-01-00T12:00:00Z", "2030-01-31T24:00:00Z", "2030-01-31T12:60:00Z", "2030-01-31T12:00:60Z",
        "2016-12-31T23:59:60Z", "2030-01-31T12:00:00", "2030-01-31T12:00:00+24:00", "2030-01-31T12:00:00+01:60", "2030-01-31T12:00:00+0100",
        "2030-01-31T12:00:00+01", "2030-01-31 12:00:00Z", "2030-1-31T12:00:00Z", "30-01-31T12:00:00Z", "2030-01-31T12:00Z",
        "2030-01-31T12:00:00.Z", "2030-01-31T12:00:00ZZ", " 2030-01-31T12:00:00Z", "2030-01-31T12:00:00,5Z", "2030-W05-4T12:00:00Z",
        "1969-12-31T23:59:59Z", "+2030-01-31T12:00:00Z", "２030-01-31T12:00:00Z", "", "Z", "2030-01-31",
    ])
    func refusesWhatNoCalendarHas(_ text: String) { #expect(Timestamp(rfc3339: text) == nil) }

    /// Any change of one character is another time, or none: nothing is skipped.
    @Test func everyCharacterMatters() {
        var random = SeededRandom(seed: TestSeed.value)
        let text = Array("2030-01-31T12:34:56.789+01:30".utf8)
        let moment = Timestamp(rfc3339: String(decoding: text, as: UTF8.self))
        for _ in 0..<5_000 {
            var other = text
            other[Int.random(in: 0..<text.count, using: &random)] = UInt8.random(in: 32..<127, using: &random)
            guard other != text, String(decoding: other, as: UTF8.self).lowercased() != String(decoding: text, as: UTF8.self).lowercased()
            else { continue }
            #expect(Timestamp(rfc3339: String(decoding: other, as: UTF8.self)) != moment)
        }
    }
}
