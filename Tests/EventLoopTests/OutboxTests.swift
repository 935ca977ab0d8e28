import TestSupport
import Testing

@testable import EventLoop

@Suite struct OutboxTests {
    /// Drains at most `room` bytes.
    private static func take(_ room: Int, from outbox: Outbox) -> [UInt8] {
        var taken: [UInt8] = []
        outbox.drain { bytes in
            let count = min(bytes.count, room - taken.count)
            taken += bytes.prefix(count)
            return count
        }
        return taken
    }

    /// Whatever is appended in whatever way, and however little is taken at once, comes out in order, and is counted.
    @Test func bytesKeepTheirOrder() {
        var random = SeededRandom(seed: TestSeed.value)
        for _ in 0..<50 {
            let outbox = Outbox()
            var (given, got) = ([UInt8](), [UInt8]())
            for _ in 0..<400 {
                let bytes = (0..<Int.random(in: 0...40, using: &random)).map { _ in UInt8.random(in: 0...255, using: &random) }
                if Bool.random(using: &random) {
                    let start = outbox.isEmpty ? Int.random(in: 0...bytes.count, using: &random) : 0
                    outbox.append(shared: bytes, from: start)
                    given += bytes[start...]
                } else {
                    bytes.withUnsafeBytes { outbox.append($0) }
                    given += bytes
                }
                got += OutboxTests.take(Int.random(in: 0...60, using: &random), from: outbox)
                #expect(outbox.orderedCount == given.count - got.count)
            }
            got += OutboxTests.take(.max, from: outbox)
            #expect(got == given)
            #expect(outbox.isEmpty && outbox.orderedCount == 0)
        }
    }

    /// Many wait for one body: it is not copied for any of them.
    @Test func sharedBytesAreNotCopied() {
        let body = [UInt8](repeating: 7, count: 100_000)
        let place = body.withUnsafeBytes { $0.baseAddress! }
        for _ in 0..<3 {
            let outbox = Outbox()
            Array("head".utf8).withUnsafeBytes { outbox.append($0) }
            outbox.append(shared: body)
            Array("next".utf8).withUnsafeBytes { outbox.append($0) }
            var places: [UnsafeRawPointer] = []
            outbox.drain { bytes in
                places.append(bytes.baseAddress!)
                return bytes.count
            }
            #expect(places.count == 3 && places[1] == place)
        }
    }

    /// Of replaceable bytes the newest are sent, behind all that stands in order.
    @Test func onlyTheNewestReplaceableBytesAreSent() {
        let outbox = Outbox()
        outbox.append(shared: [1, 2])
        for byte: UInt8 in 3...5 { [byte].withUnsafeBytes { outbox.replace($0) } }
        [UInt8(9)].withUnsafeBytes { outbox.append($0) }
        #expect(OutboxTests.take(.max, from: outbox) == [1, 2, 9, 5])
        #expect(outbox.conflated == 2 && outbox.isEmpty)
    }
}
