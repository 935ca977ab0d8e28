import Foundation
import Glibc
import TestSupport
import Testing

@testable import stanchion

@Suite struct LogTests {
    /// A caller that logs never waits for the reader: what does not fit is dropped and counted, and no line comes twice or out of order.
    @Test func readerWhoStandsStillHoldsNobodyUp() async throws {
        let pipe = Pipe()
        let output = LogOutput(pipe.fileHandleForWriting.fileDescriptor)
        let line = String(repeating: "x", count: 1_000)
        let count = 5_000
        for number in 0..<count { output.write("line \(number) \(line)") }

        // Now it is read, and what comes next tells how much was dropped.
        let lines = await withCheckedContinuation { done in
            Thread.detachNewThread { done.resume(returning: readLines(of: pipe.fileHandleForReading, to: "one more")) }
            output.flush(within: 300_000)
            output.write("one more")
        }
        func numbers(_ lines: [String], at index: Int) -> [Int] { lines.map { Int($0.split(separator: " ")[index])! } }
        let written = numbers(lines.filter { $0.hasPrefix("line ") }, at: 1)
        let dropped = lines.compactMap { $0.split(separator: "\"dropped\":").last.flatMap { Int($0.dropLast()) } }.reduce(0, +)
        #expect(dropped > 1_000 && written.count + dropped == count)
        #expect(zip(written, written.dropFirst()).allSatisfy { $0 < $1 })
        #expect(lines.contains("one more"))
    }

    @Test func wordsThatAreRepeatedAreCounted() {
        var lines = RepeatedLines()
        func written(_ words: String, _ times: Int, at second: UInt64) -> [Int] {
            (0..<times).compactMap { _ in lines.note(words, at: second) }
        }
        #expect(written("a", 20, at: 5).allSatisfy { $0 == 0 })
        #expect(written("a", 11_000, at: 6).isEmpty)
        // Other words are another matter.
        #expect(written("b", 1, at: 6) == [0])
        #expect(written("a", 3, at: 14).isEmpty)
        #expect(written("a", 21, at: 15) == [11_003] + Array(repeating: 0, count: 19))
        #expect(written("a", 1, at: 25) == [1])
        // However many there are, few are remembered.
        for number in 0..<100_000 { _ = lines.note("\(number)", at: 30) }
        #expect(written("a", 1, at: 30) == [0])
    }
}

/// Reads up to the line `last`, on the caller's thread: the tests share one thread for each core, and a reader that waits
/// for its turn there stands still longer than the test means it to.
private func readLines(of file: FileHandle, to last: String) -> [String] {
    var bytes = Data()
    while !bytes.suffix(last.utf8.count + 1).elementsEqual("\(last)\n".utf8) {
        let more = file.availableData
        if more.isEmpty { break }
        bytes += more
    }
    return String(decoding: bytes, as: UTF8.self).split(separator: "\n").map(String.init)
}
