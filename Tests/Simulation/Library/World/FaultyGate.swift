import QueueEngine
import QueueService

/// The way from one process to the store: slow, lossy, sometimes cut.
final class FaultyGate: StoreGate, @unchecked Sendable {
    private unowned(unsafe) let world: World
    private let slot: Int
    var isCut = false
    private(set) var calls: [StoreCall: Int] = [:]

    init(_ world: World, slot: Int) {
        self.world = world
        self.slot = slot
    }

    /// When a call is carried out and answered, and with what.
    private struct Fate {
        var carriedOutAt: Timestamp?
        var answeredAt: Timestamp
        var error: StoreError?
    }

    func pass<R: Sendable>(_ call: StoreCall, weight: Int, _ body: @escaping @Sendable () -> R) async -> Result<R, StoreError> {
        await withCheckedContinuation { continuation in
            calls[call, default: 0] += 1
            let fate = fate(of: call)
            world.note(call, weight, slot, fate.error != nil)
            let box = Box<R>()
            if let moment = fate.carriedOutAt { world.scheduler.at(moment) { box.value = body() } }
            world.scheduler.at(fate.answeredAt) {
                if let error = fate.error { return continuation.resume(returning: .failure(error)) }
                continuation.resume(returning: box.value.map { .success($0) } ?? .failure(.unavailable("nobody carried it out")))
            }
        }
    }

    private final class Box<R>: @unchecked Sendable { var value: R? }

    private func fate(of call: StoreCall) -> Fate {
        let (weather, now) = (world.weather, world.scheduler.now)
        let there = now + world.dice.time(weather.latency.lowerBound / 2_000...weather.latency.upperBound / 2_000)
        if isCut || world.isStoreAway { return away(now, there, call) }
        var back = there + world.dice.time(weather.latency.lowerBound / 2_000...weather.latency.upperBound / 2_000)
        if world.dice.chance(weather.busy) { return Fate(answeredAt: back, error: .busy("simulated")) }
        if world.dice.chance(weather.refused) { return Fate(answeredAt: there, error: .unavailable("simulated")) }
        let lost = lost(call)
        if world.dice.chance(weather.lostBefore) { return Fate(answeredAt: back, error: lost) }
        if world.dice.chance(weather.lostAfter) { return Fate(carriedOutAt: there, answeredAt: back, error: lost) }
        if call == .append, world.dice.chance(weather.late) {
            return Fate(carriedOutAt: there + world.dice.time(0.1...20), answeredAt: back, error: lost)
        }
        if world.dice.chance(weather.slow) {
            back = there + world.dice.time(weather.slowness.lowerBound / 1_000...weather.slowness.upperBound / 1_000)
        }
        // Carried out somewhere between the question and the answer.
        let moment = there + Timestamp.Span(microseconds: Int64(Double((back - there).microseconds) * world.dice.unit()))
        return Fate(carriedOutAt: moment, answeredAt: back)
    }

    /// A store that is away refuses, or says nothing until a time limit ends the wait.
    private func away(_ now: Timestamp, _ there: Timestamp, _ call: StoreCall) -> Fate {
        if isCut || world.dice.chance(0.7) { return Fate(answeredAt: there, error: .unavailable("simulated")) }
        return Fate(answeredAt: now + .seconds(8), error: lost(call))
    }

    /// What a lost answer means: a read has not happened, a write perhaps.
    private func lost(_ call: StoreCall) -> StoreError {
        switch call {
        case .append, .beat, .lease, .write, .retention: .inDoubt("simulated")
        case .waking, .load, .entries, .sessions, .queues, .other: .unavailable("simulated")
        }
    }
}
