import QueueEngine
import QueueService

/// An instance's clock: the true time, wrong by some seconds until the store's time corrects it. Never runs backwards.
final class SimulatedClock: ServiceClock, @unchecked Sendable {
    private let scheduler: Scheduler
    private let queue: RunQueue
    /// How wrong the machine's own clock is.
    private let error: Timestamp.Span
    private var correction = Timestamp.Span(microseconds: 0)
    private var last = Timestamp.distantPast
    /// Timers of a process that was killed never fire.
    var isStopped = false
    private(set) var wakes = 0
    /// What it was asked for and has not come yet.
    private(set) var pending = 0
    /// Hears of each of them.
    var woken: () -> Void = {}

    init(_ scheduler: Scheduler, _ queue: RunQueue, error: Timestamp.Span) {
        (self.scheduler, self.queue, self.error) = (scheduler, queue, error)
    }

    func now() -> Timestamp {
        last = max(last, scheduler.now + error + correction)
        return last
    }

    func observe(_ moment: Timestamp) { last = max(last, moment) }

    func calibrate(_ store: Timestamp, roundTrip: Timestamp.Span) {
        guard roundTrip <= .milliseconds(250) else { return }
        correction = store + Timestamp.Span(microseconds: roundTrip.microseconds / 2) - (scheduler.now + error)
    }

    func wake(at moment: Timestamp, _ body: @escaping @Sendable () -> Void) {
        pending += 1
        let wait = max(.milliseconds(0), moment - now())
        scheduler.at(scheduler.now + wait) { [self] in
            guard !isStopped else { return }
            queue.add { [self] in
                guard !isStopped else { return }
                pending -= 1
                guard now() >= moment else { return wake(at: moment, body) }
                wakes += 1
                woken()
                body()
            }
        }
    }
}

/// Chance for a service, from the seed.
final class SimulatedRandom: RandomSource, @unchecked Sendable {
    private var dice: Dice
    init(seed: UInt64) { dice = Dice(seed: seed) }
    func next() -> UInt64 { dice.next() }
}
