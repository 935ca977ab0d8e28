import Foundation
import QueueEngine
import Testing
import TestSupport

/// The vectors that the browser's display model is run against too (`Tests/AcceptanceTests/Python/display.mjs`).
@Suite struct DisplayTests {
    struct Vector: Decodable {
        struct Step: Decodable {
            let at: UInt32
            var position: Int?
            var rate: Double?
            var reason: String?
            var shows: Int?
        }
        let name: String
        let steps: [Step]
    }

    @Test func showsWhatTheVectorsSay() throws {
        let path = URL(fileURLWithPath: #filePath).deletingLastPathComponent().appendingPathComponent("../Vectors/display.json")
        let vectors = try JSONDecoder().decode([Vector].self, from: Data(contentsOf: path))
        #expect(vectors.count >= 6)
        for vector in vectors {
            var shown: ShownPosition?
            for step in vector.steps {
                if let position = step.position, let rate = step.rate {
                    if shown == nil || step.reason != nil {
                        shown = ShownPosition(position: position, rate: rate, at: step.at)
                    } else {
                        shown?.update(position: position, rate: rate, at: step.at)
                    }
                }
                if let expected = step.shows { #expect(shown?.value(at: step.at) == expected, "\(vector.name) at \(step.at)") }
            }
        }
    }

    /// A whole line: what everyone sees stays within the bound, with a tenth of the frames.
    @Test func everyDisplayStaysWithinItsBound() throws {
        var random = SeededRandom(seed: TestSeed.value)
        var line = Line(waiting: 2_000, perSecond: 10, &random)
        var (samples, beyond, nearHead, nearHeadBeyond) = (0, 0, 0, 0)
        for tick in 1...600 {
            line.tick(tick, &random)
            for (place, excess) in line.excesses().enumerated() {
                // Beside the bound there is what one tick drains, and the rounding of the number on the screen.
                let isBeyond = excess > 1.5
                samples += 1
                if isBeyond { beyond += 1 }
                guard place < ShownPosition.exactUpTo else { continue }
                nearHead += 1
                if isBeyond { nearHeadBeyond += 1 }
            }
        }
        #expect(Double(beyond) / Double(samples) < 0.001)
        #expect(Double(nearHeadBeyond) / Double(nearHead) < 0.001)
        let exact = line.exactFrames
        #expect(line.frames * 5 < exact, "\(line.frames) frames, \(exact) in exact mode")
    }

    /// The line stands still and then goes on, and its rate is the same all the while: what is shown does not run away from
    /// the truth, and runs with it again as soon as that is there.
    @Test(arguments: [(5, 1.0), (90, 20.0), (300, 5.0), (2_800, 40.0)])
    func aLineThatStandsIsWaitedFor(_ place: Int, _ perSecond: Double) {
        var shown = ShownPosition(position: place, rate: perSecond, at: 0)
        var (frames, sinceBack) = (0, 0)
        let bound = place <= ShownPosition.exactUpTo ? 1 : max(1, 0.01 * Double(place))
        for tick in 1...1_200 as ClosedRange<UInt32> {
            let milliseconds = tick * 100
            let moved = tick <= 600 ? 0 : Double(tick - 600) / 10 * perSecond
            let truth = max(1, place - Int(moved))
            if shown.isFrameDue(truth: truth, at: milliseconds) {
                let rate = shown.rate(toTell: perSecond, truth: truth, at: milliseconds)
                shown.update(position: truth, rate: rate, at: milliseconds)
                frames += 1
            }
            // It is seen to be wrong up to a tenth of a second late, twice.
            #expect(abs(Double(shown.value(at: milliseconds) - truth)) <= bound + 0.2 * perSecond + 1, "\(tick)")
            if tick == 600 { #expect(frames <= 2) }
            if moved > bound + 0.2 * perSecond + 2, truth > 1 {
                sinceBack += 1
                #expect(abs(shown.value(at: milliseconds) - truth) <= Int(0.1 * perSecond) + 1, "\(tick)")
            }
        }
        #expect(sinceBack > 0)
    }
}

private struct Line {
    var state = QueueState()
    var now = Timestamp(seconds: 1_700_000_000)
    var milliseconds: UInt32 = 0
    var shown: [Ticket: ShownPosition] = [:]
    var frames = 0
    var exactFrames = 0

    init(waiting: Int, perSecond: Int, _ random: inout SeededRandom) {
        var log: [QueueEvent] = []
        try! state.configure(
            QueueConfiguration(maxConcurrentUsers: 1_000_000, releaseRatePerMinute: perSecond * 60, admissionTTLSeconds: 100_000), at: now,
            &log)
        for _ in 0..<waiting { _ = try? state.join(lane: 0, at: now, &log) }
        for ticket in state.allWaiting { shown[ticket] = ShownPosition(position: state.position(ticket)!, rate: 0, at: 0) }
    }

    mutating func tick(_ number: Int, _ random: inout SeededRandom) {
        now = now + .milliseconds(100)
        milliseconds += 100
        var log: [QueueEvent] = []
        state.advance(to: now, &log)
        if random.chance(20), let leaver = state.allWaiting.randomElement(using: &random) { try? state.leave(leaver, at: now, &log) }
        let drain = state.drain(at: now)
        for ticket in state.allWaiting {
            let position = state.position(ticket)!
            if number % 10 == 0 { exactFrames += 1 }
            guard shown[ticket]!.isFrameDue(truth: position, at: milliseconds) else { continue }
            let rate = shown[ticket]!.rate(toTell: drain.rate(at: position), truth: position, at: milliseconds)
            shown[ticket]!.update(position: position, rate: rate, at: milliseconds)
            frames += 1
        }
    }

    /// By how many positions each display is further off than its bound.
    func excesses() -> [Double] {
        state.allWaiting.map { ticket in
            let truth = state.position(ticket)!
            let bound = truth <= ShownPosition.exactUpTo ? 0 : max(1, 0.01 * Double(truth))
            return Double(abs(shown[ticket]!.value(at: milliseconds) - truth)) - bound
        }
    }
}
