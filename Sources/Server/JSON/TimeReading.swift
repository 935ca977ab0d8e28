import QueueEngine

extension Timestamp {
    /// A date and time of RFC 3339 §5.6, from 1970 to 9999 and to the millisecond, which is how it is written again.
    ///
    /// nil for what no calendar has (30 February, 24:00:00) and for leap seconds, which this time does not count.
    init?(rfc3339 text: String) {
        guard text.utf8.count <= 40 else { return nil }
        var text = Scanner(text.utf8)
        guard let year = text.number(4), text.take("-"), let month = text.number(2), text.take("-"), let day = text.number(2),
            text.take("T") || text.take("t"), let hour = text.number(2), text.take(":"), let minute = text.number(2), text.take(":"),
            let second = text.number(2), let milliseconds = text.fraction(), let offset = text.offsetMinutes(), text.isAtEnd,
            1...12 ~= month, 1...Timestamp.days(in: month, of: year) ~= day, hour < 24, minute < 60, second < 60
        else { return nil }
        let minutes = (Timestamp.daysSince1970(year, month, day) * 24 + hour) * 60 + minute - offset
        let moment = (minutes * 60 + second) * 1_000 + milliseconds
        guard moment > 0, moment < 253_402_300_800_000 else { return nil }
        self.init(microseconds: Int64(moment) * 1_000)
    }

    private static func days(in month: Int, of year: Int) -> Int {
        if month == 2 { return year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) ? 29 : 28 }
        return [4, 6, 9, 11].contains(month) ? 30 : 31
    }

    /// Hinnant, "chrono-Compatible Low-Level Date Algorithms", days_from_civil; years from 0 on.
    private static func daysSince1970(_ year: Int, _ month: Int, _ day: Int) -> Int {
        let shifted = month <= 2 ? year + 399 : year + 400  // One era more, so that nothing is negative.
        let (era, yearOfEra) = (shifted / 400, shifted % 400)
        let dayOfYear = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1
        return (era - 1) * 146_097 + yearOfEra * 365 + yearOfEra / 4 - yearOfEra / 100 + dayOfYear - 719_468
    }
}

/// Reads a time from its front to its end.
private struct Scanner {
    private var rest: Substring.UTF8View

    init(_ text: String.UTF8View) { rest = text[...] }

    var isAtEnd: Bool { rest.isEmpty }

    mutating func take(_ character: Unicode.Scalar) -> Bool {
        guard rest.first == UInt8(ascii: character) else { return false }
        rest.removeFirst()
        return true
    }

    private mutating func digit() -> Int? {
        guard let byte = rest.first, UInt8(ascii: "0")...UInt8(ascii: "9") ~= byte else { return nil }
        rest.removeFirst()
        return Int(byte - UInt8(ascii: "0"))
    }

    /// Exactly so many digits.
    mutating func number(_ digits: Int) -> Int? {
        var number = 0
        for _ in 0..<digits {
            guard let digit = digit() else { return nil }
            number = number * 10 + digit
        }
        return number
    }

    /// Milliseconds; none where there is no fraction. What is finer is cut off.
    mutating func fraction() -> Int? {
        guard take(".") else { return 0 }
        guard var digit = digit() else { return nil }
        var (milliseconds, scale) = (0, 100)
        while true {
            milliseconds += digit * scale
            scale /= 10
            guard let next = self.digit() else { return milliseconds }
            digit = next
        }
    }

    mutating func offsetMinutes() -> Int? {
        if take("Z") || take("z") { return 0 }
        let isEast = take("+")
        guard isEast || take("-"), let hours = number(2), take(":"), let minutes = number(2), hours < 24, minutes < 60 else { return nil }
        return (hours * 60 + minutes) * (isEast ? 1 : -1)
    }
}
