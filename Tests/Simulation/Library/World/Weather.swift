import QueueEngine

/// How things go wrong at the moment: how likely each fault is for each call, and how often something larger happens.
struct Weather {
    // Of each call to the store.
    /// Milliseconds to the store and back.
    var latency: ClosedRange<Double> = 0.2...2
    var slow = 0.0
    /// Milliseconds that a slow call takes.
    var slowness: ClosedRange<Double> = 50...8_000
    /// The connection is lost before the store has carried it out.
    var lostBefore = 0.0
    /// The connection is lost afterwards.
    var lostAfter = 0.0
    /// It is answered as lost, and carried out some seconds later.
    var late = 0.0
    var refused = 0.0
    var busy = 0.0

    // Of each message.
    var lost = 0.0
    var duplicated = 0.0
    var delayed = 0.0
    /// Milliseconds of a message that is late.
    var delay: ClosedRange<Double> = 10...5_000

    // Mean seconds between larger events; 0: never.
    var outageEvery = 0.0
    /// The store refuses the changes of one queue.
    var refusalEvery = 0.0
    var cutEvery = 0.0
    var freezeEvery = 0.0
    var killEvery = 0.0
    var restartEvery = 0.0
    var silenceEvery = 0.0
    /// Seconds that one of them takes.
    var length: ClosedRange<Double> = 0.1...60

    static let calm = Weather()

    /// Swarm testing (Groce and others, 2012): each seed leaves some faults out and makes the others very uneven.
    static func storm(_ dice: inout Dice) -> Weather {
        var weather = Weather()
        weather.latency = 0.2...dice.logarithmic(1...60)
        weather.slow = dice.weight() * 0.02
        weather.lostBefore = dice.weight(on: 0.4) * 0.01
        weather.lostAfter = dice.weight(on: 0.4) * 0.01
        weather.late = dice.weight(on: 0.3) * 0.01
        weather.refused = dice.weight(on: 0.3) * 0.01
        weather.busy = dice.weight(on: 0.3) * 0.01
        weather.lost = dice.weight() * 0.4
        weather.duplicated = dice.weight() * 0.2
        weather.delayed = dice.weight() * 0.4
        weather.outageEvery = Weather.every(&dice, 120...4_000)
        weather.refusalEvery = Weather.every(&dice, 120...4_000)
        weather.cutEvery = Weather.every(&dice, 120...4_000)
        weather.freezeEvery = Weather.every(&dice, 120...4_000)
        weather.killEvery = Weather.every(&dice, 200...6_000)
        weather.restartEvery = Weather.every(&dice, 200...6_000)
        weather.silenceEvery = Weather.every(&dice, 120...4_000)
        return weather
    }

    private static func every(_ dice: inout Dice, _ range: ClosedRange<Double>) -> Double {
        dice.chance(0.5) ? dice.logarithmic(range) : 0
    }
}
