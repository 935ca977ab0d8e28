import EventLoop
import Foundation
import Operations
import QueueEngine

/// Many visitors on one loop. Says `joined` when all stand in line, and a line of figures for each line it is sent.
final class Crowd: @unchecked Sendable {
    // Unchecked: everything but the reading of lines is on the loop.
    private let address: SocketAddress
    private let count: Int
    private let queue: String
    private let isExact: Bool
    private let ttlSeconds: Double
    /// Joins, and then never reads again.
    private let isDeaf: Bool
    private let loop: EventLoop

    private var joined = 0
    private var started = 0
    private var closed = 0
    private var frames = 0
    private var admitted = 0
    private var delays: [Double] = []
    /// From the moment that a position frame names to when it is here, in seconds; since the last report.
    private var lateness: [Double] = []
    private var places: [Place] = []
    private var samples = 0
    private var over = 0
    private var beyond = 0
    private var worst = 0.0

    /// What one visitor sees, and where it stood when it joined.
    private final class Place {
        var first = 0
        var shown: ShownPosition?
        var isIn = false
    }

    init(_ options: [String: String]) {
        address = SocketAddress(options["address"]!)!
        count = Int(options["count"]!)!
        queue = options["queue"]!
        isExact = options["updates"] == "exact"
        ttlSeconds = Double(options["ttl"] ?? "0")!
        isDeaf = options["deaf"] != nil
        loop = try! EventLoopGroup(count: 1).loops[0]
    }

    func run() {
        loop.execute { [self] in for _ in 0..<min(count, 64) { enter() } }
        while let line = readLine() {
            let done = DispatchSemaphore(value: 0)
            loop.execute { [self] in
                if line == "check" { checkDisplays() }
                report()
                done.signal()
            }
            done.wait()
        }
    }

    private var milliseconds: UInt32 { UInt32(truncatingIfNeeded: EventLoop.monotonicNow() / 1_000_000) }

    /// The next visitor, as soon as one has joined: a line forms as fast as the server takes it, and no faster.
    private func enter() {
        guard started < count else { return }
        let source = SocketAddress("127.0.0.\((isDeaf ? 100 : 2) + started / 10_000):0")!
        started += 1
        let place = Place()
        places.append(place)
        let first = #"{"type":"join","queue":"\#(queue)","updates":"\#(isExact ? "exact" : "predicted")"}"#
        _ = try! LineClient(loop: loop, to: address, from: source, receiveBuffer: isDeaf ? 4_096 : nil, first: first) {
            [self] client, event, payload in
            switch event {
            case .joined:
                joined += 1
                place.first = Int(number("position", payload))
                place.shown = ShownPosition(position: place.first, rate: number("rate", payload), at: milliseconds)
                if isDeaf { client.stopReading() }
                enter()
                if joined == count { Bench.report(["joined": Double(joined)]) }
            case .position:
                frames += 1
                if isExact {
                    if let late = seconds(since: "at", payload) { lateness.append(late) }
                } else {
                    place.shown?.update(position: Int(number("position", payload)), rate: number("rate", payload), at: milliseconds)
                }
            case .admitted:
                admitted += 1
                place.isIn = true
                // The admission ends a whole time-to-live after the release, to the millisecond.
                if ttlSeconds > 0, let since = seconds(since: "expiresAt", payload) {
                    delays.append((since + ttlSeconds).truncatingRemainder(dividingBy: 86_400))
                }
            case .closed: closed += 1
            case .ended: break
            }
        }
    }

    /// Nobody leaves and all joined before the first was let in: whoever stood at p now stands at p − admitted.
    private func checkDisplays() {
        let now = milliseconds
        for place in places where !place.isIn {
            guard let shown = place.shown else { continue }
            let truth = max(1, place.first - admitted)
            let error = abs(Double(shown.value(at: now) - truth)) / max(1, 0.01 * Double(truth))
            samples += 1
            worst = max(worst, error)
            if error > 1 { over += 1 }
            // Beside the bound: what the hundred milliseconds between two sweeps drain, and the rounding on the screen.
            if error > 1, abs(Double(shown.value(at: now) - truth)) > max(1, 0.01 * Double(truth)) + 2 { beyond += 1 }
        }
    }

    private func report() {
        let (sorted, late) = (delays.sorted(), lateness.sorted())
        lateness = []
        Bench.report([
            "frames": Double(frames), "admitted": Double(admitted), "closed": Double(closed), "samples": Double(samples),
            "over": Double(over),
            "late99": late.isEmpty ? 0 : late[late.count * 99 / 100], "beyond": Double(beyond), "worst": worst,
            "p50": sorted.isEmpty ? 0 : sorted[sorted.count / 2],
            "p99": sorted.isEmpty ? 0 : sorted[sorted.count * 99 / 100],
        ])
    }

    /// A member's number, without a parser: the client must not be what is measured.
    private func number(_ name: StaticString, _ payload: RawSpan) -> Double {
        payload.withUnsafeBytes { raw in
            guard let start = Crowd.find(name, raw) else { return 0 }
            let digits = raw[start...].prefix { $0 == 0x2E || $0 == 0x2D || (0x30...0x39).contains($0) }
            return Double(String(decoding: digits, as: UTF8.self)) ?? 0
        }
    }

    /// Seconds since the time of day that a member names, within a day.
    private func seconds(since name: StaticString, _ payload: RawSpan) -> Double? {
        payload.withUnsafeBytes { raw in
            guard let start = Crowd.find(name, raw), start + 24 < raw.count else { return nil }
            func digits(_ offset: Int, _ count: Int) -> Int {
                raw[(start + offset)...].prefix(count).reduce(0) { $0 * 10 + Int($1) - 48 }
            }
            // "2026-11-24T19:05:59.123Z", behind its quotation mark.
            let then = Double(digits(12, 2) * 3_600 + digits(15, 2) * 60 + digits(18, 2)) + Double(digits(21, 3)) / 1_000
            let now = Double(EventLoop.realtimeMicroseconds() % 86_400_000_000) / 1e6
            return (now - then + 2 * 86_400).truncatingRemainder(dividingBy: 86_400)
        }
    }

    /// Where the value of `"name":` begins.
    private static func find(_ name: StaticString, _ raw: UnsafeRawBufferPointer) -> Int? {
        let length = name.utf8CodeUnitCount
        var index = 0
        while index + length + 2 < raw.count {
            if raw[index] == 0x22, raw[index + length + 1] == 0x22, raw[index + length + 2] == 0x3A,
                memcmp(raw.baseAddress! + index + 1, name.utf8Start, length) == 0
            {
                return index + length + 3
            }
            index += 1
        }
        return nil
    }
}
