import QueueEngine
import QueueService

/// What some visitors' pages show, told as a server's loop tells them: a sweep a tenth of a second after a change, and
/// while what is shown moves by itself.
final class Displays {
    private struct Display {
        let connection: Connection
        var shown: ShownPosition
        var lastPosition: Int
    }

    private struct Place: Hashable {
        let slot: Int
        let queue: QueueID
    }

    private unowned let world: World
    private var displays: [Place: [Display]] = [:]
    private var planned: Set<Place> = []
    private static let interval = Timestamp.Span.milliseconds(100)
    /// Displays that are watched of one queue at one process.
    private static let limit = 4

    init(_ world: World) { self.world = world }

    private var milliseconds: UInt32 { UInt32(truncatingIfNeeded: world.scheduler.now.microseconds / 1_000) }

    func opened(_ connection: Connection) {
        let place = Place(slot: connection.incarnation.slot, queue: connection.queue)
        guard world.options.watching > 0, displays[place]?.count ?? 0 < Displays.limit, world.dice.chance(world.options.watching),
            let snapshot = connection.incarnation.snapshots[connection.queue], let position = snapshot.state.position(connection.ticket)
        else { return }
        let rate = snapshot.state.drain(at: connection.incarnation.clock.now()).rate(at: position)
        let shown = ShownPosition(position: position, rate: rate, at: milliseconds)
        displays[place, default: []].append(Display(connection: connection, shown: shown, lastPosition: position))
        plan(place)
    }

    func closed(_ connection: Connection) {
        let place = Place(slot: connection.incarnation.slot, queue: connection.queue)
        displays[place]?.removeAll { $0.connection === connection }
        if displays[place]?.isEmpty == true { displays[place] = nil }
    }

    func changed(_ queue: QueueID, at process: Incarnation) { plan(Place(slot: process.slot, queue: queue)) }

    private func plan(_ place: Place) {
        guard displays[place] != nil, planned.insert(place).inserted else { return }
        world.scheduler.after(Displays.interval) { [weak self] in self?.sweep(place) }
    }

    private func sweep(_ place: Place) {
        planned.remove(place)
        guard let watched = displays[place], let process = world.processes[place.slot], process.isAlive, !process.runQueue.isFrozen,
            let state = process.snapshots[place.queue]?.state
        else { return }
        let drain = state.drain(at: process.clock.now())
        let after = watched.map { display in
            guard let position = state.position(display.connection.ticket) else { return display }
            return consider(display, position, drain)
        }
        displays[place] = after
        if after.contains(where: \.shown.isMoving) { plan(place) }
    }

    private func consider(_ before: Display, _ position: Int, _ drain: DrainRate) -> Display {
        var display = before
        let now = milliseconds
        let rose = position > display.lastPosition
        if rose || display.shown.isFrameDue(truth: position, at: now) {
            let rate = drain.rate(at: position)
            if rose {
                display.shown = ShownPosition(position: position, rate: rate, at: now)
            } else {
                display.shown.update(
                    position: position, rate: display.shown.rate(toTell: rate, truth: position, at: now), at: now)
            }
            display.lastPosition = position
        }
        check(display, before, position, rose: rose)
        return display
    }

    private func check(_ display: Display, _ before: Display, _ position: Int, rose: Bool) {
        let (value, ticket) = (display.shown.value(at: milliseconds), display.connection.ticket)
        if !rose, value > before.shown.value(at: milliseconds) {
            world.report(.display, "\(ticket) was shown \(before.shown.value(at: milliseconds)), then \(value) without a reason")
        }
        // Too low it may be: it waits for the truth, and never rises without a reason.
        let bound = position <= ShownPosition.exactUpTo ? 0 : Int(max(1, 0.01 * Double(position)) + 0.5)
        if value > position + bound { world.report(.honesty, "\(ticket) is shown \(value) and stands at \(position)") }
    }
}
